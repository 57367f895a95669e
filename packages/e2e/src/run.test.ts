import { describe, expect, test } from "bun:test";
import { run as runCommand } from "@longshore/testkit";
import { clis, useWorld } from "./world.ts";

const world = useWorld();

describe.each(clis)("docker run by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const run = (...args: string[]) =>
    world()
      .docker(cli)
      .run(["run", "--rm", world().busybox, ...args]);

  test("stdout, stderr and exit status are the command's", async () => {
    expect(await run("sh", "-c", "echo out; echo err >&2; exit 42")).toEqual({
      status: 42,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect((await run("true")).status).toBe(0);
    expect((await run("sh", "-c", "sh -c 'kill -9 $$'; exit $?")).status).toBe(137);
  });

  test("much output arrives whole and in order", async () => {
    const { status, stdout } = await run("seq", "1", "100000");
    expect(status).toBe(0);
    expect(stdout).toBe(Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join(""));
  });

  test("a line without end is no trouble, on a terminal or not, nor in the log", async () => {
    const line = ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; exit 7"];
    for (const flags of [[], ["-t"]]) {
      const options = flags.length > 0 ? { terminal: true } : {};
      const args = ["run", ...flags, "--name", "endless", world().busybox, ...line];
      const { status, stdout } = await world().docker(cli).run(args, options);
      expect([status, stdout.replaceAll("\r", "") === "x".repeat(3_000_000)]).toEqual([7, true]);
      expect((await docker("logs", "endless")) === "x".repeat(3_000_000)).toBe(true);
      await docker("rm", "endless");
    }
  });

  test("much output arrives whole at a reader that takes its time, though the process has ended", async () => {
    const env = { DOCKER_HOST: world().engine.suite.dockerHost, DOCKER_CONFIG: world().engine.dir };
    const output = "head -c 20000000 /dev/zero";
    const id = await docker("run", "-d", world().busybox, "sleep", "1000");
    for (const command of [`run --rm ${world().busybox}`, `exec ${id}`]) {
      const script = `${cli.path} ${command} ${output} | (sleep 1; wc -c)`;
      expect((await runCommand(["sh", "-c", script], { env })).stdout.trim()).toBe("20000000");
    }
    await docker("rm", "-f", id);
  });

  test("-i pipes stdin in, and its end reaches the command", async () => {
    const { status, stdout } = await world()
      .docker(cli)
      .run(["run", "--rm", "-i", world().busybox, "wc", "-l"], { stdin: "one\ntwo\nthree\n" });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "3\n" });
  });

  test("a megabyte through -i comes back unchanged", async () => {
    const stdin = Array.from({ length: 20_000 }, (_, index) => `line ${index} ${"x".repeat(40)}\n`).join("");
    const { status, stdout } = await world()
      .docker(cli)
      .run(["run", "--rm", "-i", world().busybox, "cat"], { stdin });
    expect(status).toBe(0);
    expect(stdout === stdin).toBe(true);
  });

  test("without -i stdin is at its end", async () => {
    expect(await run("cat")).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test("-t gives it a terminal, and its exit status comes back all the same", async () => {
    const { status, stdout } = await world()
      .docker(cli)
      .run(["run", "--rm", "-t", world().busybox, "sh", "-c", "tty; exit 7"], {
        terminal: true,
      });
    // Without -i the client leaves its own terminal as it is, which adds a carriage return of its own.
    expect(stdout.replaceAll("\r", "")).toBe("/dev/pts/0\n");
    expect(status).toBe(7);
  });

  test("-it is a session at a shell", async () => {
    const { status, stdout } = await world().docker(cli).run(["run", "--rm", "-it", world().busybox, "sh"], {
      terminal: true,
      stdin: "echo a$((40 + 2))b\nexit 3\n",
    });
    expect(stdout).toContain("a42b");
    expect(status).toBe(3);
  });

  test("-e, -w and --name", async () => {
    const args = [
      "run",
      "--rm",
      "--name",
      "named",
      "-e",
      "COLOUR=sea blue",
      "-w",
      "/tmp/work",
      world().busybox,
    ];
    expect(await docker(...args, "sh", "-c", 'echo "$COLOUR in $(pwd)"')).toBe("sea blue in /tmp/work");
  });

  test("the environment is Docker's: PATH, HOSTNAME, HOME, and TERM on a terminal", async () => {
    const lines = (await docker("run", "--rm", world().busybox, "env")).split("\n").sort();
    expect(lines).toEqual([
      "HOME=/root",
      expect.stringMatching(/^HOSTNAME=[0-9a-f]{12}$/),
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]);
    const { stdout } = await world()
      .docker(cli)
      .run(["run", "--rm", "-t", world().busybox, "sh", "-c", "echo $TERM"], { terminal: true });
    expect(stdout.trim()).toBe("xterm");
  });

  test("-d prints the id and leaves it running; rm -f ends it", async () => {
    const id = await docker("run", "-d", world().busybox, "sleep", "1000");
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    expect(await docker("ps", "-q", "--no-trunc")).toBe(id);
    expect(await docker("rm", "-f", id)).toBe(id);
  });

  test("nothing is left behind", async () => {
    expect(await docker("ps", "-aq")).toBe("");
    expect(await world().engine.leaks()).toEqual([]);
  });
});
