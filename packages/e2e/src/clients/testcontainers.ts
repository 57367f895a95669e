/** What tests do with testcontainers, run by Node as they are: `tsx testcontainers.ts IMAGE`. DOCKER_HOST names the engine. */
import assert from "node:assert/strict";
import { GenericContainer, Network, Wait } from "testcontainers";

const [image = ""] = process.argv.slice(2);
const serve = "mkdir -p /www && echo served > /www/index.html && echo ready && exec httpd -f -p 8080 -h /www";

console.log("a server with a mapped port, waited for by its log, its port and by HTTP");
for (const strategy of [Wait.forLogMessage("ready"), Wait.forListeningPorts(), Wait.forHttp("/", 8080)]) {
  const container = await new GenericContainer(image)
    .withCommand(["sh", "-c", serve])
    .withExposedPorts(8080)
    .withWaitStrategy(strategy)
    .withStartupTimeout(60_000)
    .start();
  const url = `http://${container.getHost()}:${container.getMappedPort(8080)}/`;
  assert.equal(await (await fetch(url)).text(), "served\n");
  await container.stop();
}

console.log("environment, files, commands, logs");
const container = await new GenericContainer(image)
  .withEnvironment({ COLOUR: "sea blue" })
  .withLabels({ of: "a test" })
  .withCopyContentToContainer([{ content: "copied\n", target: "/tmp/file" }])
  .withTmpFs({ "/fast": "rw,size=64k" })
  .withUser("0")
  .withWorkingDir("/tmp")
  .withCommand(["sh", "-c", "echo begun; sleep 1000"])
  .withWaitStrategy(Wait.forLogMessage("begun"))
  .start();
const ran = await container.exec(["sh", "-c", "cat file; echo $COLOUR; pwd; exit 3"]);
assert.deepEqual([ran.exitCode, ran.output], [3, "copied\nsea blue\n/tmp\n"]);
await container.copyContentToContainer([{ content: "later\n", target: "/tmp/later" }]);
assert.equal((await container.exec(["cat", "later"])).output, "later\n");
const logs = await container.logs();
const [first] = await new Promise<string[]>((resolve) =>
  logs.once("data", (line: unknown) => resolve([String(line)])),
);
logs.destroy();
assert.match(first ?? "", /begun/);
await container.restart();
await container.stop();

console.log("two on a network, by an alias");
const network = await new Network().start();
const server = await new GenericContainer(image)
  .withNetwork(network)
  .withNetworkAliases("server")
  .withCommand(["sh", "-c", serve])
  .withWaitStrategy(Wait.forLogMessage("ready"))
  .start();
const client = await new GenericContainer(image)
  .withNetwork(network)
  .withCommand(["sleep", "1000"])
  .withWaitStrategy(Wait.forSuccessfulCommand("wget -q -O - http://server:8080/"))
  .start();
assert.equal((await client.exec(["wget", "-q", "-O", "-", "http://server:8080/"])).output, "served\n");
await client.stop();
await server.stop();
await network.stop();

console.log("health, and a command that ends");
const healthy = await new GenericContainer(image)
  .withCommand(["sleep", "1000"])
  .withHealthCheck({
    test: ["CMD-SHELL", "true"],
    interval: 500,
    timeout: 5000,
    retries: 3,
    startPeriod: 100,
  })
  .withWaitStrategy(Wait.forHealthCheck())
  .start();
await healthy.stop();
const once = await new GenericContainer(image)
  .withCommand(["true"])
  .withWaitStrategy(Wait.forOneShotStartup())
  .start();
await once.stop();
console.log("done");
