import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { formatStdioUri } from "@longshore/stdio";
import { canRun, Harness, until } from "./harness.ts";

const O_ASYNC = 0o20000;

/** How many pipes of a process raise signals. */
function signallingPipes(pid: number): number {
  return fs.readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      if (!fs.readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith("pipe:")) return false;
      const flags =
        /^flags:\s+(\d+)$/m.exec(fs.readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
      return (Number.parseInt(flags, 8) & O_ASYNC) !== 0;
    } catch {
      return false; // closed meanwhile
    }
  }).length;
}

describe.skipIf(!canRun)("a process that writes short lines without end", () => {
  test("raises no signal for each; when it rests the next one is seen by a signal again", async () => {
    await using harness = new Harness();
    const container = await harness.container({
      args: ["sh", "-c", "read go; while :; do echo 0123456789; done"],
    });
    const uri = formatStdioUri({
      socketPath: path.join(harness.dir, "io"),
      log: { path: path.join(harness.dir, "log"), maxSizeBytes: 1_000_000, maxFiles: 2 },
    });
    const stdin = path.join(harness.dir, "stdin");
    Bun.spawnSync(["mkfifo", stdin]);
    const input = fs.openSync(stdin, fs.constants.O_RDWR);
    await container.create({ stdin, stdout: uri });
    await container.start();
    const { shimPid, id, task } = container;
    const atRest = signallingPipes(shimPid);
    expect(atRest).toBeGreaterThan(0);
    fs.writeSync(input, "go\n");
    await until(() => signallingPipes(shimPid) === atRest - 1, "the output's signals to be off");
    // What else it is asked it answers meanwhile.
    for (let count = 0; count < 20; count++) await task.state({ id, execId: "" });
    await task.pause({ id });
    await until(() => signallingPipes(shimPid) === atRest, "the output's signals to be on");
    const file = () => fs.statSync(path.join(harness.dir, "log")).ino;
    const before = file();
    await task.resume({ id });
    await until(() => file() !== before, "another file of the log");
    for (let count = 0; count < 100; count++) await task.state({ id, execId: "" });
    await container.kill(9);
    expect((await container.wait()).exitStatus).toBe(137);
    fs.closeSync(input);
  }, 20_000);

  test("leaves what is typed meanwhile its way into the terminal", async () => {
    await using harness = new Harness();
    // Much comes out for each little that goes in.
    const [part, answer, parts] = [256, 20_000, 400];
    const loop = `while read -r line; do printf %0${answer}d 0; done`;
    const container = await harness.container({
      args: ["sh", "-c", `stty raw -echo; printf ready; ${loop}`],
      terminal: true,
    });
    const output = path.join(harness.dir, "output");
    const stdin = path.join(harness.dir, "stdin");
    Bun.spawnSync(["mkfifo", stdin]);
    const input = fs.openSync(stdin, fs.constants.O_RDWR);
    await container.create({ stdin, stdout: `file://${output}` });
    await container.start();
    const size = () => (fs.existsSync(output) ? fs.statSync(output).size : 0);
    await until(() => size() === "ready".length, "the terminal");
    // More than the pipe and the terminal hold waits in between before the flood begins.
    await container.task.pause({ id: container.id });
    expect(fs.writeSync(input, Buffer.alloc(parts * part, `${"x".repeat(part - 1)}\n`))).toBe(parts * part);
    await container.task.resume({ id: container.id });
    await until(() => size() >= parts * answer, "all of it to be answered");
    await container.kill(9);
    await container.wait();
    fs.closeSync(input);
  }, 60_000);
});
