import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { canRun, Harness, isAlive, until } from "./harness.ts";

/** A logging program that keeps what it is given in files beside it; `held` until there is a file `go`. */
function logger(dir: string, name: string, steps = ""): { uri: string; file: (kind: string) => string } {
  const file = (kind: string) => path.join(dir, `${name}.${kind}`);
  const script = [
    "#!/bin/sh",
    `echo $$ > ${file("pid")}`,
    `for word in "$@"; do echo "<$word>"; done > ${file("args")}`,
    `env > ${file("env")}`,
    steps,
    "exec 5>&-",
    `cat <&3 > ${file("out")} & cat <&4 > ${file("err")} & wait`,
    `echo done > ${file("end")}`,
  ];
  fs.writeFileSync(file("sh"), script.join("\n"), { mode: 0o755 });
  return { uri: `binary://${file("sh")}`, file };
}

const read = (file: string) => fs.readFileSync(file, "utf8");
const lines = (count: number) => Array.from({ length: count }, (_, i) => `${i + 1}\n`).join("");

describe.skipIf(!canRun)("logging URIs", () => {
  test("binary://: descriptors, arguments and environment are containerd's; a delete finds the log whole", async () => {
    await using harness = new Harness();
    const { uri, file } = logger(harness.dir, "log");
    const container = await harness.container({ args: ["sh", "-c", "seq 100000; echo oops >&2; exit 3"] });
    const stdout = `${uri}?--id=a%20b&flag&env.COLOUR=blue&env.CONTAINER_ID=forged`;
    await container.create({ stdout, stderr: stdout });
    expect(read(file("args"))).toBe("<--id>\n<a b>\n<flag>\n<>\n");
    const environment = read(file("env")).split("\n");
    expect(environment).toContain(`CONTAINER_ID=${container.id}`);
    expect(environment).toContain(`CONTAINER_NAMESPACE=${container.namespace}`);
    expect(environment).toContain("COLOUR=blue");
    expect(environment.filter((line) => /^(PATH|BUN_|TTRPC)/.test(line))).toEqual([]);
    await container.start();
    expect((await container.wait()).exitStatus).toBe(3);
    await container.delete();
    expect(read(file("end"))).toBe("done\n");
    expect(read(file("out")) === lines(100_000)).toBe(true);
    expect(read(file("err"))).toBe("oops\n");
    await container.shutdown();
  }, 30_000);

  test("binary://: a create waits until the program is ready; one that isn't there fails it and leaves nothing", async () => {
    await using harness = new Harness();
    const go = path.join(harness.dir, "go");
    const { uri, file } = logger(harness.dir, "held", `while [ ! -e ${go} ]; do sleep 0.02; done`);
    const container = await harness.container({ args: ["echo", "hello"] });
    await expect(container.create({ stdout: "binary:///no/such" })).rejects.toThrow(
      "failed to start binary process: ",
    );
    expect(read("/proc/self/mountinfo")).not.toContain(container.bundle);
    let created = false;
    const creating = container.create({ stdout: uri }).then(() => {
      created = true;
    });
    await until(() => fs.existsSync(file("env")), "the program");
    expect((await container.task.connect({ id: container.id })).taskPid).toBe(0);
    expect(created).toBe(false);
    fs.writeFileSync(go, "");
    await creating;
    await container.start();
    await container.finish();
    expect(read(file("out"))).toBe("hello\n");
  }, 30_000);

  test("binary://: with a terminal, and for an exec under its own id", async () => {
    await using harness = new Harness();
    const terminal = logger(harness.dir, "terminal");
    const container = await harness.container({ args: ["sh", "-c", "tty; exec sleep 1000"], terminal: true });
    await container.create({ stdout: terminal.uri });
    await container.start();
    const exec = logger(harness.dir, "exec");
    await container.exec("x1", ["sh", "-c", "echo out; echo err >&2"], {
      stdout: exec.uri,
      stderr: exec.uri,
    });
    await container.start("x1");
    await container.wait("x1");
    await container.delete("x1");
    expect(read(exec.file("env"))).toContain("CONTAINER_ID=x1\n");
    expect([read(exec.file("out")), read(exec.file("err"))]).toEqual(["out\n", "err\n"]);
    await container.kill(9);
    await container.finish();
    expect(read(terminal.file("out"))).toBe("/dev/pts/0\r\n");
  }, 30_000);

  test("binary://: a program that dies costs its log, not the container; one that stays is ended", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["sh", "-c", "seq 200000; exit 4"] });
    const short = logger(harness.dir, "short", "exec 5>&-; head -n 1 <&3; exit 1");
    await container.create({ stdout: short.uri });
    await container.start();
    expect((await container.wait()).exitStatus).toBe(4);
    await container.delete();
    await container.shutdown();
    const other = await harness.container({ args: ["true"] });
    const stays = logger(harness.dir, "stays", "exec 5>&-; while :; do sleep 0.1; done");
    await other.create({ stdout: stays.uri });
    const pid = Number(read(stays.file("pid")));
    await other.start();
    await other.finish();
    expect(isAlive(pid)).toBe(false);
  }, 30_000);

  test("file:// takes both streams, is made with its directory, appended to, and decoded", async () => {
    await using harness = new Harness();
    const file = path.join(harness.dir, "new dir/out");
    for (const word of ["one", "two"]) {
      const container = await harness.container({ args: ["sh", "-c", `echo ${word}; echo ${word} >&2`] });
      await container.create({ stdout: `file://${harness.dir}/new%20dir/out` });
      await container.start();
      await container.finish();
    }
    expect(read(file).split("\n").sort()).toEqual(["", "one", "one", "two", "two"]);
  }, 30_000);

  test("unknown schemes are refused by name, and nothing is left", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["true"] });
    for (const scheme of ["npipe", "binary-v2"]) {
      await expect(container.create({ stdout: `${scheme}:///bin/true` })).rejects.toThrow(
        `${scheme}:// is not supported`,
      );
    }
    await expect(container.create({ stdout: "binary://true" })).rejects.toThrow("not absolute");
    expect(read("/proc/self/mountinfo")).not.toContain(container.bundle);
  }, 30_000);
});
