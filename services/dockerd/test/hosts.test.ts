import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import tls from "node:tls";
import { AF_INET, AF_UNIX, bind, bindUnix, listen, SOCK_STREAM, socket } from "@longshore/syscalls";
import {
  type Certificates,
  type CommandOptions,
  dockerClis,
  eventually,
  freePort,
  makeCertificates,
  run,
  type TempDir,
  tempDir,
} from "@longshore/testkit";
import { binDir, demultiplex, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(90_000);
const GROUP = 31_337;
let dir: TempDir;
let certificates: Certificates;
let secure: number;
let world: TestEngine;

const dockerd = (...args: string[]) => run([path.join(binDir, "dockerd"), ...args]);

beforeAll(async () => {
  dir = tempDir();
  certificates = makeCertificates(dir.path);
  secure = await freePort();
  const { ca, server } = certificates;
  world = await openEngine({
    components: {
      dockerd: {
        extraArgs: [
          ...["-H", `unix://${dir.path}/second.sock`, "-H", `tcp://127.0.0.1:${secure}`],
          ...["--tlsverify", "--tlscacert", ca, "--tlscert", server.cert, "--tlskey", server.key],
          ...["--group", String(GROUP)],
        ],
      },
    },
  });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  dir?.[Symbol.dispose]();
});

test("unix sockets are root's and their group's, nobody else's", () => {
  for (const socket of [world.api.socketPath, path.join(dir.path, "second.sock")]) {
    const { mode, uid, gid } = fs.statSync(socket);
    expect([mode & 0o7777, uid, gid]).toEqual([0o660, 0, GROUP]);
  }
});

test("TLS: clients with a certificate of ours are served, all others are turned away before a handler sees them", async () => {
  const { ca, client, stranger } = certificates;
  const curl = (target: string, ...args: string[]) =>
    run(["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", ca, ...args, target]);
  const url = `https://127.0.0.1:${secure}/_ping`;
  const use = ({ cert, key }: { cert: string; key: string }) => ["--cert", cert, "--key", key];
  expect(await curl(url, ...use(client))).toMatchObject({ status: 0, stdout: "OK" });
  const name = `refused-${process.pid}`;
  const create = `https://127.0.0.1:${secure}/containers/create?name=${name}`;
  const body = [
    "-H",
    "Content-Type: application/json",
    "-d",
    JSON.stringify({ Image: world.image, Cmd: ["true"] }),
  ];
  for (const refused of [
    await curl(create, ...body),
    await curl(create, ...body, ...use(stranger)),
    await curl(create.replace("https", "http"), ...body),
  ]) {
    expect(refused.status).not.toBe(0);
    expect(refused.stdout).not.toContain("Id");
  }
  expect((await world.api.call("GET", `/containers/${name}/json`)).status).toBe(404);
  const old = await curl(url, ...use(client), "--tls-max", "1.1");
  expect(old.status).not.toBe(0);
});

test("TLS carries hijacked streams both ways, uploads, and answers that go on for long", async () => {
  const { ca, client } = certificates;
  const { image, api } = world;
  for (const cli of dockerClis(binDir)) {
    const tlsArgs = ["--tlsverify", "--tlscacert", ca, "--tlscert", client.cert, "--tlskey", client.key];
    const config = path.join(dir.path, "client");
    fs.mkdirSync(config, { recursive: true });
    const docker = (args: string[], options: CommandOptions = {}) =>
      run([cli.path, ...tlsArgs, "-H", `tcp://127.0.0.1:${secure}`, ...args], {
        ...options,
        env: { DOCKER_CONFIG: config, DOCKER_HOST: "" },
      });
    const input = "0123456789abcde\n".repeat(200_000);
    const md5 = new Bun.CryptoHasher("md5").update(input).digest("hex");
    const summed = await docker(["run", "--rm", "-i", "--network", "none", image, "md5sum"], {
      stdin: input,
    });
    expect([summed.status, summed.stdout.slice(0, 32), summed.stderr]).toEqual([0, md5, ""]);

    const name = `tls-${process.pid}`;
    expect(
      (await docker(["run", "-d", "--network", "none", "--name", name, image, "sleep", "1000"])).status,
    ).toBe(0);
    const executed = await docker(["exec", "-i", name, "sh", "-c", "md5sum; exit 7"], { stdin: input });
    expect([executed.status, executed.stdout.slice(0, 32)]).toEqual([7, md5]);
    const terminal = await docker(["exec", "-it", name, "sh", "-c", "tty; echo here"], { terminal: true });
    expect(terminal.stdout).toMatch(/\/dev\/(pts\/\d+|console)\r\nhere\r\n/);

    fs.writeFileSync(path.join(dir.path, "copied"), input);
    expect((await docker(["cp", path.join(dir.path, "copied"), `${name}:/`])).status).toBe(0);
    const back = await docker(["exec", name, "md5sum", "/copied"]);
    expect(back.stdout.slice(0, 32)).toBe(md5);
    expect((await docker(["rm", "-f", name])).status).toBe(0);
  }
  const id = await api.create(image, [
    "sh",
    "-c",
    "for i in 1 2 3; do echo $i; sleep 0.3; done; head -c 20000000 /dev/zero; exec sleep 1000",
  ]);
  const connection = tls.connect({
    ...{ host: "127.0.0.1", port: secure },
    ...{ ca: fs.readFileSync(ca), cert: fs.readFileSync(client.cert), key: fs.readFileSync(client.key) },
  });
  const chunks: Buffer[] = [];
  connection.on("data", (chunk: Buffer) => chunks.push(chunk));
  connection.write(
    `POST /containers/${id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`,
  );
  await eventually(() => chunks.length > 0, { what: "the head of the answer" });
  await api.call("POST", `/containers/${id}/start`);
  const output = () => {
    const answer = Buffer.concat(chunks);
    return demultiplex(answer.subarray(answer.indexOf("\r\n\r\n") + 4)).stdout;
  };
  await eventually(() => chunks.reduce((sum, { length }) => sum + length, 0) > 20_000_000);
  await eventually(() => output().length === 20_000_006, { what: "all output" });
  expect(output().slice(0, 6)).toBe("1\n2\n3\n");
  connection.destroy();

  // A body in chunks, some of which come after the head.
  const exec = { Cmd: ["cat"], AttachStdin: true, AttachStdout: true };
  const { Id } = (await api.call("POST", `/containers/${id}/exec`, exec)).json;
  const streamed = tls.connect({
    ...{ host: "127.0.0.1", port: secure },
    ...{ ca: fs.readFileSync(ca), cert: fs.readFileSync(client.cert), key: fs.readFileSync(client.key) },
  });
  let answered = "";
  streamed.on("data", (chunk: Buffer) => {
    answered += chunk.toString("latin1");
  });
  streamed.write(
    `POST /exec/${Id}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"Detach":false,\r\n`,
  );
  await Bun.sleep(50);
  streamed.write('c\r\n"Tty":false}\r\n0\r\n\r\n');
  await eventually(() => answered.includes("101 "), { what: "the answer to a body in chunks" });
  streamed.write("typed\n");
  await eventually(() => answered.includes("typed\n"), { what: "the echo" });
  streamed.destroy();
  await api.call("DELETE", `/containers/${id}?force=1`);
});

test("TCP without verified clients is served on loopback only, unless somebody asks for it by name", async () => {
  const { ca, server } = certificates;
  const files = ["--tlscacert", ca, "--tlscert", server.cert, "--tlskey", server.key];
  const validate = (...args: string[]) =>
    dockerd("--validate", "--config-file", path.join(dir.path, "empty.json"), ...args);
  fs.writeFileSync(path.join(dir.path, "empty.json"), "{}");
  for (const args of [
    ["-H", "tcp://0.0.0.0:2375"],
    ["-H", "unix:///x.sock", "-H", "tcp://[::]:2375"],
    ["-H", "10.0.0.1:2375"],
  ]) {
    const { status, stderr } = await validate(...args);
    expect([args, status]).toEqual([args, 1]);
    expect(stderr).toContain("dockerd: refusing to serve tcp://");
    expect(stderr).toContain("without --tlsverify");
  }
  for (const args of [
    ["-H", "tcp://127.0.0.1:2375"],
    ["-H", "tcp://:2375"],
    ["-H", "tcp://0.0.0.0:2375", "--tls=false"],
    ["-H", "tcp://0.0.0.0:2375", "--tlsverify=false", ...files],
    ["-H", "tcp://0.0.0.0:2376", "--tlsverify", ...files],
  ])
    expect([args, await validate(...args)]).toMatchObject([args, { status: 0 }]);
  const missing = await validate(
    "-H",
    "tcp://127.0.0.1:2376",
    "--tlsverify",
    "--tlscert",
    "/no",
    "--tlskey",
    "/no",
  );
  expect(missing.stderr).toBe(
    'dockerd: invalid TLS configuration: could not load X509 key pair (cert: "/no", key: "/no"): open /no: no such file or directory\n',
  );
  const mixed = ["--tlscacert", ca, "--tlscert", server.cert, "--tlskey", certificates.stranger.key];
  expect((await validate("--tlsverify", ...mixed)).stderr).toStartWith(
    "dockerd: invalid TLS configuration: could not load X509 key pair",
  );
  expect((await validate("--group", "nobody-has-this")).stderr).toBe(
    "dockerd: group nobody-has-this not found\n",
  );
});

test("fd://: the sockets that a supervisor has opened; without one it says so", async () => {
  const { engine, image } = world;
  const argv = fs
    .readFileSync(`/proc/${engine.suite.pid("dockerd")}/cmdline`, "utf8")
    .split("\0")
    .slice(1, -1);
  const dropped = ["-H", "--tlscacert", "--tlscert", "--tlskey", "--tlsverify"];
  const args = argv.filter(
    (word, index) => !dropped.includes(word) && !dropped.slice(0, 4).includes(argv[index - 1] ?? ""),
  );
  await engine.suite.kill("dockerd", "SIGTERM");
  await eventually(() => !engine.suite.running("dockerd"));
  const none = await dockerd(...args, "-H", "fd://");
  expect([none.status, none.stderr.split("\n").at(-2)]).toEqual([
    1,
    "dockerd: no sockets found via socket activation: make sure the service was started by systemd",
  ]);

  // What systemd does: the sockets from descriptor 3 on, and in the environment whom they are for.
  const [socketPath, port] = [path.join(dir.path, "activated.sock"), await freePort()];
  const unix = socket(AF_UNIX, SOCK_STREAM);
  bindUnix(unix, socketPath);
  const inet = socket(AF_INET, SOCK_STREAM);
  bind(inet, Uint8Array.of(2, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0));
  for (const fd of [unix, inet]) listen(fd);
  const log = fs.openSync(path.join(dir.path, "activated.log"), "w");
  const activate = 'LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@"';
  const activated = Bun.spawn(["sh", "-c", activate, path.join(binDir, "dockerd"), ...args, "-H", "fd://"], {
    stdio: ["ignore", log, log, unix, inet],
  });
  try {
    for (const where of [
      ["--unix-socket", socketPath, "http://docker/_ping"],
      [`http://127.0.0.1:${port}/_ping`],
    ]) {
      const ping = () => run(["curl", "--silent", "--max-time", "5", ...where]);
      await eventually(async () => (await ping()).stdout === "OK", { what: `an answer at ${where.at(-1)}` });
    }
    const env = { DOCKER_HOST: `unix://${socketPath}`, DOCKER_CONFIG: dir.path };
    const ran = await run(
      [path.join(binDir, "docker"), "run", "--rm", "-i", "--network", "none", image, "cat"],
      { env, stdin: "through the door\n" },
    );
    expect(ran).toMatchObject({ status: 0, stdout: "through the door\n" });
  } finally {
    activated.kill("SIGTERM");
    await activated.exited;
    for (const fd of [log, unix, inet]) fs.closeSync(fd);
  }
  // It is its supervisor's.
  expect(fs.existsSync(socketPath)).toBe(true);
  await engine.suite.start("dockerd");
});
