import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import {
  type CommandOptions,
  type CommandResult,
  eventually,
  output,
  run,
  tempDir,
} from "@longshore/testkit";
import { binary, type RealEngine, referenceClient, skipReason, startRealEngine } from "./real-engine.ts";

const skip = skipReason();
if (skip) console.warn(`skipped: ${skip}`);

describe.skipIf(skip !== "")("our docker client with a real dockerd", () => {
  let engine: RealEngine;
  const docker = (args: string[], options: CommandOptions = {}): Promise<CommandResult> =>
    run([binary, ...args], { ...options, env: { DOCKER_HOST: engine.host, ...options.env } });
  const out = (args: string[], options: CommandOptions = {}): Promise<string> =>
    output([binary, ...args], { ...options, env: { DOCKER_HOST: engine.host, ...options.env } });

  beforeAll(async () => {
    engine = await startRealEngine();
  }, 60_000);
  afterAll(() => engine?.[Symbol.asyncDispose](), 60_000);

  test("run pulls a missing image: progress on stderr, only the container's output on stdout", async () => {
    const { status, stdout, stderr } = await docker(["run", "--rm", engine.image, "echo", "hi"]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "hi\n" });
    const lines = stderr.split("\n");
    expect(lines[0]).toBe(`Unable to find image '${engine.image}' locally`);
    expect(lines[1]).toBe("1: Pulling from busybox");
    expect(stderr).toMatch(/^[0-9a-f]{12}: Pull complete$/m);
    expect(stderr).toMatch(/^Digest: sha256:[0-9a-f]{64}$/m);
    expect(stderr).toContain(`Status: Downloaded newer image for ${engine.image}\n`);
    expect(stderr).not.toContain("\u001b");
  });

  test("run keeps the streams apart and gives the process's status", async () => {
    const { status, stdout, stderr } = await docker([
      "run",
      "--rm",
      engine.image,
      "sh",
      "-c",
      "echo o; echo e >&2; exit 7",
    ]);
    expect({ status, stdout, stderr }).toEqual({ status: 7, stdout: "o\n", stderr: "e\n" });
  });

  test("run -i sends stdin and its end, and 20 MB both ways unharmed", async () => {
    const input = "0123456789abcdef\n".repeat(1 << 20);
    const { stdout } = await docker(["run", "--rm", "-i", engine.image, "cat"], { stdin: input });
    expect(stdout === input).toBe(true);
  });

  test("run -t gives a terminal of our size, and no frames", async () => {
    const tty = await docker(["run", "--rm", "-t", engine.image, "sh", "-c", "tty; echo e >&2"]);
    expect(tty.stdout).toMatch(/^\/dev\/(pts\/\d+|console)\r\ne\r\n$/);
    // The size is set when the process has started: it may look too early.
    const loop = "until stty size 2>/dev/null | grep [1-9]; do sleep 0.05; done";
    const size = [
      "sh",
      "-c",
      `stty rows 33 cols 101; ${binary} run --rm -it ${engine.image} sh -c "${loop}"`,
    ];
    const terminal = await run(size, { terminal: true, env: { DOCKER_HOST: engine.host } });
    expect(terminal.stdout).toContain("33 101");
  });

  test("-it without a terminal on stdin is refused", async () => {
    const { status, stderr } = await docker(["run", "--rm", "-it", engine.image, "true"], { stdin: "" });
    expect({ status, stderr }).toEqual({ status: 1, stderr: "the input device is not a TTY\n" });
  });

  test("what fails before the process is 125, 126 or 127", async () => {
    const statusOf = async (...args: string[]) => (await docker(["run", "--rm", ...args])).status;
    expect(await statusOf(engine.image, "nosuch")).toBe(127);
    expect(await statusOf(engine.image, "/etc")).toBe(126);
    expect(await statusOf(`${engine.registry}/nosuch`)).toBe(125);
    expect(await statusOf("--nosuch", engine.image)).toBe(125);
    const refused = await docker(["run", "--cpu-count", "2", engine.image]);
    expect(refused.stderr).toStartWith("flag --cpu-count is not supported by this client yet\n");
    const gpus = await docker(["run", "--rm", "--gpus", "all", engine.image, "true"]);
    expect(gpus).toMatchObject({ status: 125 });
    expect(gpus.stderr).toContain('could not select device driver "" with capabilities: [[gpu]]');
    expect(await out(["ps", "-aq"])).toBe("");
  });

  test("links, and files of labels and ids", async () => {
    using dir = tempDir();
    const [idFile, labelFile] = [path.join(dir.path, "id"), path.join(dir.path, "labels")];
    fs.writeFileSync(labelFile, "# comment\n\na=b=c\nbare\n");
    await out(["create", "--name", "target", engine.image, "true"]);
    const options = ["--cidfile", idFile, "--label-file", labelFile, "-l", "own=1", "--link", "target:t"];
    const id = await out(["create", "--name", "linker", ...options, engine.image, "true"]);
    expect(fs.readFileSync(idFile, "utf8")).toBe(id);
    const shown = () =>
      out(["inspect", "-f", "{{json .HostConfig.Links}} {{json .Config.Labels}}", "linker"]);
    const labels = '{"a":"b=c","bare":"","own":"1"}';
    expect(await shown()).toBe(`["/target:/linker/t"] ${labels}`);
    expect((await docker(["create", "--cidfile", idFile, engine.image, "true"])).stderr).toContain(
      `container ID file found, make sure the other container isn't running or delete ${idFile}`,
    );
    expect(await out(["rm", "--link", "linker/t"])).toBe("linker/t");
    expect(await shown()).toBe(`null ${labels}`);
    await out(["rm", "linker", "target"]);
  });

  test("signals go to the container's process", async () => {
    const script = "trap 'echo got TERM; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    const child = spawn(binary, ["-H", engine.host, "run", "--rm", engine.image, "sh", "-c", script]);
    let text = "";
    child.stdout.on("data", (data: Buffer) => {
      text += data.toString();
      if (text.includes("ready") && !child.killed) child.kill("SIGTERM");
    });
    const status = await new Promise((resolve) => child.once("close", resolve));
    expect({ status, text }).toEqual({ status: 3, text: "ready\ngot TERM\n" });
  });

  test("a container's life: run -d, ps, exec, logs, stop, start -a, rename, kill, wait, rm", async () => {
    const script = 'echo "start $A"; echo err >&2; trap "exit 5" TERM; while :; do sleep 0.05; done';
    const id = await out([
      "run",
      "-d",
      "--name",
      "life",
      "-e",
      "A=1",
      "-l",
      "k=v",
      engine.image,
      "sh",
      "-c",
      script,
    ]);
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    await eventually(async () => (await docker(["logs", "life"])).stdout.includes("start 1"));
    expect(await docker(["logs", "life"])).toMatchObject({ status: 0, stdout: "start 1\n", stderr: "err\n" });
    expect(await out(["ps", "--format", "{{.Names}} {{.Labels}} {{.State}}"])).toBe("life k=v running");
    expect(await out(["ps", "-q", "--no-trunc", "-f", "name=life"])).toBe(id);
    expect(await docker(["exec", "life", "sh", "-c", "echo x; exit 4"])).toMatchObject({
      status: 4,
      stdout: "x\n",
    });
    const piped = await docker(
      ["exec", "-i", "-w", "/tmp", "-e", "B=2", "life", "sh", "-c", "pwd; echo $B; cat"],
      { stdin: "in" },
    );
    expect(piped.stdout).toBe("/tmp\n2\nin");
    expect(await out(["inspect", "-f", '{{.State.Status}} {{index .Config.Labels "k"}}', "life"])).toBe(
      "running v",
    );
    expect(await out(["top", "life"])).toContain("sleep");
    expect(await out(["pause", "life"])).toBe("life");
    expect(await out(["ps", "--format", "{{.Status}}"])).toEndWith("(Paused)");
    expect(await out(["unpause", "life"])).toBe("life");
    expect(await out(["stop", "-t", "10", "life"])).toBe("life");
    expect(await out(["ps", "-a", "--format", "{{.Status}}"])).toStartWith("Exited (5)");
    expect(await out(["wait", "life"])).toBe("5");
    await out(["rename", "life", "second"]);
    expect(await out(["start", "second"])).toBe("second");
    expect(await out(["kill", "second"])).toBe("second");
    expect(await out(["wait", "second"])).toBe("137");
    expect(await docker(["rm", "second", "nosuch"])).toMatchObject({
      status: 1,
      stdout: "second\n",
      stderr: "Error response from daemon: No such container: nosuch\n",
    });
  });

  test("create and start -a show the output and give the status", async () => {
    await out(["create", "--name", "made", engine.image, "sh", "-c", "echo made; exit 6"]);
    expect(await docker(["start", "-a", "made"])).toMatchObject({ status: 6, stdout: "made\n" });
    await out(["rm", "made"]);
  });

  test("logs: tail, timestamps, follow to the end, and nothing before its time", async () => {
    await out(["run", "--name", "log", engine.image, "sh", "-c", "for i in 1 2 3; do echo $i; done"]);
    expect(await out(["logs", "--tail", "1", "log"])).toBe("3");
    expect(await out(["logs", "-f", "log"])).toBe("1\n2\n3");
    expect(await out(["logs", "-t", "--tail", "1", "log"])).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z 3$/);
    expect(await out(["logs", "--until", "2020-01-01", "log"])).toBe("");
    expect((await docker(["logs", "--since", "soon", "log"])).stderr).toContain('invalid value for "since"');
    await out(["rm", "log"]);
  });

  test("images, pull and rmi", async () => {
    expect(await out(["images", "--format", "{{.Repository}}:{{.Tag}}"])).toBe(engine.image);
    const removed = await out(["rmi", engine.image]);
    expect(removed).toMatch(/^Untagged: 127\.0\.0\.1:\d+\/busybox:1\n/);
    expect(removed).toMatch(/^Deleted: sha256:[0-9a-f]{64}$/m);
    expect(await out(["images", "-q"])).toBe("");
    expect(await out(["pull", "-q", engine.image])).toBe(engine.image);
    expect(await out(["pull", engine.image])).toContain(`Status: Image is up to date for ${engine.image}`);
    const missing = await docker(["pull", `${engine.registry}/busybox:2`]);
    expect(missing).toMatchObject({
      status: 1,
      stderr: `Error response from daemon: manifest for ${engine.registry}/busybox:2 not found: manifest unknown: manifest unknown\n`,
    });
  });

  test("version and info tell both sides; the API is the older one of the two", async () => {
    const version = JSON.parse(await out(["version", "--format", "json"]));
    expect(version.Client.ApiVersion).toBe(version.Server.ApiVersion);
    expect(await out(["version"])).toMatch(/^Client: Longshore\n(.*\n)+\nServer:.*\n Engine:\n {2}Version: /);
    expect(await out(["info"])).toContain(" Storage Driver: overlay2\n");
  });

  test("no engine, and an answer that is no HTTP", async () => {
    const gone = await docker(["ps"], { env: { DOCKER_HOST: "unix:///nosuch.sock" } });
    expect(gone).toMatchObject({
      status: 1,
      stderr: "Cannot connect to the Docker daemon at unix:///nosuch.sock. Is the docker daemon running?\n",
    });
    const server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: (socket) => void socket.end("garbage\r\n\r\n") },
    });
    const garbage = await docker(["ps"], { env: { DOCKER_HOST: `tcp://127.0.0.1:${server.port}` } });
    server.stop(true);
    expect(garbage.status).toBe(1);
    expect(garbage.stderr).toContain("malformed HTTP response");
  });

  test("a closed stdout ends it quietly", async () => {
    const { stdout, stderr } = await run(
      ["sh", "-c", `${binary} run --rm ${engine.image} yes 2>&1 | head -1; ${binary} ps -q`],
      { env: { DOCKER_HOST: engine.host } },
    );
    expect({ first: stdout.split("\n")[0], stderr }).toEqual({ first: "y", stderr: "" });
    await eventually(async () => {
      const ids = await out(["ps", "-q"]);
      if (ids) await out(["rm", "-f", ...ids.split("\n")]);
      return ids === "";
    });
  });

  test("creates the very containers that Docker's client does", async () => {
    const reference = await referenceClient();
    if (!reference) return;
    const lines = [
      "",
      "-it",
      "-v /tmp:/x -v ./a:/b:ro --tmpfs /t --tmpfs /u:size=1m --shm-size 1m",
      "--add-host a:1.2.3.4 --add-host b=::1 --network none --domainname d -h h",
      "--cpu-period 1000 --cpu-quota 2000 -c 5 --cpuset-cpus 0 --cpuset-mems 0",
      "--cpus 1.5 -m 64m --memory-reservation 32m --memory-swap -1 --oom-score-adj 5 --pids-limit 10",
      "--device /dev/null --device /dev/zero:/dev/z --device /dev/zero:/dev/y:r --group-add 5",
      "--ipc host --pid host --uts host --cgroupns host --privileged --read-only",
      "--security-opt no-new-privileges --security-opt seccomp=unconfined --ulimit nofile=1:2",
      "--cap-add net_admin --cap-add SYS_TIME --cap-drop ALL --sysctl net.core.somaxconn=5",
      "--log-driver json-file --log-opt max-size=1m --runtime runc -u 1 -w /w --entrypoint e -l a=b",
      "-e A=b -e HOME --stop-signal USR1 --stop-timeout 4 -a stdout --rm",
    ];
    for (const line of lines) {
      const made = await Promise.all(
        [reference, binary].map(async (client) => {
          const args = ["create", ...line.split(" ").filter(Boolean), engine.image, "cmd"];
          const id = await output([client, ...args], { env: { DOCKER_HOST: engine.host } });
          const [details] = JSON.parse(await out(["inspect", id]));
          await out(["rm", id]);
          const { HostConfig, Config, NetworkSettings } = details;
          // Docker's client sends these in another order each time.
          for (const list of [Config.Env, HostConfig.Binds]) list?.sort();
          return JSON.stringify({ HostConfig, Config, NetworkSettings }).replaceAll(id.slice(0, 12), "ID");
        }),
      );
      expect({ line, made: made[1] }).toEqual({ line, made: made[0] ?? "" });
    }
  });

  describe("has the same output, errors and status as Docker's client", async () => {
    const reference = await referenceClient();
    if (!reference) console.warn("skipped: no docker client of version 28 or newer to compare with");

    beforeAll(async () => {
      await out(["run", "-d", "--name", "same", "-l", "a=b", engine.image, "sleep", "600"]);
    });
    afterAll(() => out(["rm", "-f", "same"]));

    const commands = [
      "ps",
      "ps -a --no-trunc",
      "ps -aq",
      "ps --format json",
      "ps -f x",
      "ps --nosuch",
      "ps extra",
      "images",
      "images --digests --no-trunc",
      "images a b c -q",
      "inspect same",
      "inspect nosuch",
      "inspect -f {{.Nope}} same",
      "inspect -f {{.Config.Labels}} same",
      "logs nosuch",
      "logs --since bogus same",
      "exec same nosuch",
      "exec same",
      "exec -u nobody same true",
      "exec -it same sh",
      "start nosuch",
      "stop nosuch same2",
      "kill nosuch",
      "rm same",
      "rm -f nosuch",
      "rename nosuch x1",
      "rmi nosuch",
      "wait nosuch",
      "attach nosuch",
      "top nosuch",
      "run",
      "run --nosuch x",
      "run --name",
      "run --cpus abc x",
      "run -m 1x x",
      "run --pull=foo x",
      "run X",
      "run --env-file /nosuch x",
      "run --rm IMAGE nosuch",
      "run --rm --cap-add NOSUCH IMAGE true",
      "run --rm -m 1k IMAGE true",
      "run --name same IMAGE true",
      "run --pull never nosuch:1",
      "create --pull never nosuch:1",
      "pull X",
      "pull IMAGE",
      "pull 127.0.0.1:1/x",
      "pause nosuch",
      "unpause same",
      "tag IMAGE other:2",
      "tag nosuch other:2",
      "tag IMAGE Bad",
      "rmi other:3",
      "foo",
      "container foo",
      "--foo",
    ];
    test.skipIf(!reference).each(commands)("docker %s", async (line) => {
      const args = line.split(" ").map((word) => (word === "IMAGE" ? engine.image : word));
      const of = async (client: string): Promise<CommandResult> => {
        const result = await run([client, ...args], { env: { DOCKER_HOST: engine.host } });
        // The engine names each container that was made for a failed attempt.
        return { ...result, stderr: result.stderr.replaceAll(/[0-9a-f]{64}/g, "ID") };
      };
      let [theirs, ours] = [await of(reference ?? ""), await of(binary)];
      // The seconds that a list tells may have gone on between the two.
      while (line.startsWith("ps") && theirs.stdout !== (await of(reference ?? "")).stdout)
        [theirs, ours] = [await of(reference ?? ""), await of(binary)];
      // Told by Docker's client from version 29 on.
      if (!theirs.stdout.includes("HealthStatus"))
        ours = { ...ours, stdout: ours.stdout.replaceAll(/"HealthStatus":"[^"]*",/g, "") };
      // Docker's client has a stray letter in one of its hints.
      expect(ours).toEqual({ ...theirs, stderr: theirs.stderr.replace("SRun '", "Run '") });
    });
  });
});
