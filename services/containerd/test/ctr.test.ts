import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { eventually } from "@longshore/testkit";
import { Daemon, haveCtr, present } from "./daemon.ts";

if (!haveCtr) console.warn("skipped: no ctr on this machine (package containerd)");

describe.skipIf(!haveCtr)("Debian's ctr", () => {
  let daemon: Daemon;
  beforeAll(async () => {
    daemon = await Daemon.start();
  });
  afterAll(async () => daemon[Symbol.asyncDispose]());

  test.skipIf(!present.some(({ name }) => name === "our shim"))(
    "run --log-uri with a program and a file",
    async () => {
      const dir = fs.mkdtempSync("/tmp/ls-log-");
      try {
        fs.writeFileSync(
          `${dir}/log.sh`,
          `#!/bin/sh\nexec 5>&-\n{ echo "$CONTAINER_NAMESPACE $CONTAINER_ID $*"; cat <&3; } > ${dir}/out\ncat <&4 > ${dir}/err\n`,
          { mode: 0o755 },
        );
        const shim = present.find(({ name }) => name === "our shim")?.runtime ?? "";
        const run = (uri: string, id: string) =>
          daemon.out(
            ...["run", "--rm", "--rootfs", "--runtime", shim, "--log-uri", uri, daemon.rootfs, id],
            ...["/bin/sh", "-c", "echo out; echo err >&2"],
          );
        await run(`binary://${dir}/log.sh?--level=high`, "b1");
        expect(fs.readFileSync(`${dir}/out`, "utf8")).toBe(`${daemon.namespace} b1 --level high\nout\n`);
        expect(fs.readFileSync(`${dir}/err`, "utf8")).toBe("err\n");
        await run(`file://${dir}/file`, "b2");
        expect(fs.readFileSync(`${dir}/file`, "utf8").split("\n").sort()).toEqual(["", "err", "out"]);
      } finally {
        fs.rmSync(dir, { recursive: true });
      }
    },
  );

  test("a runtime that does not exist is refused, and nothing is left", async () => {
    const args = ["run", "--rootfs", "--runtime", "io.containerd.none.v1", daemon.rootfs, "n1", "true"];
    const { status, stderr } = await daemon.ctr(...args);
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining('binary not installed "containerd-shim-none-v1"'),
    ]);
    await daemon.out("containers", "rm", "n1");
    expect(daemon.leaks()).toEqual([]);
  });

  for (const shim of present) {
    describe(`with ${shim.name}`, () => {
      test("run: output, exit status, nothing left", async () => {
        const ended = await daemon.run(
          shim,
          ["--rm"],
          "r1",
          "/bin/sh",
          "-c",
          "echo out; echo err >&2; exit 7",
        );
        expect(ended).toEqual({ status: 7, stdout: "out\n", stderr: "err\n" });
        await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
      });

      test("run of a command that isn't there fails, and nothing is left", async () => {
        const { status, stderr } = await daemon.run(shim, ["--rm"], "r2", "/no/such/command");
        expect(status).not.toBe(0);
        expect(stderr).toContain("/no/such/command");
        await daemon.ctr("containers", "rm", "r2");
        await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
      });

      test("tasks: list, exec, ps, metrics, pause, kill, delete, with their events in order", async () => {
        const events = daemon.events();
        await Bun.sleep(100); // ctr does not say when it listens
        expect((await daemon.run(shim, ["-d"], "t1", "/bin/sleep", "1000")).status).toBe(0);
        const [[id, pid, status] = []] = await daemon.tasks();
        expect([id, status]).toEqual(["t1", "RUNNING"]);
        expect(fs.readFileSync(`/proc/${pid}/cmdline`, "utf8")).toBe("/bin/sleep\x001000\0");
        expect(await daemon.out("tasks", "ps", "t1")).toContain(`${pid}`);
        // The ctr of containerd 1.7 drops what is still on its way when the process ends, so the process ends a little later.
        const script = "echo in; sleep 0.3; exit 3";
        const exec = await daemon.ctr("tasks", "exec", "--exec-id", "e1", "t1", "/bin/sh", "-c", script);
        expect([exec.stdout, exec.status]).toEqual(["in\n", 3]);
        expect(await daemon.out("tasks", "metrics", "t1")).toContain("memory.usage_in_bytes");
        await daemon.out("tasks", "pause", "t1");
        expect(await daemon.status("t1")).toBe("PAUSED");
        await daemon.out("tasks", "resume", "t1");
        expect((await daemon.ctr("tasks", "delete", "t1")).status).not.toBe(0);
        await daemon.out("tasks", "kill", "--signal", "SIGKILL", "t1");
        await eventually(async () => (await daemon.status("t1")) === "STOPPED");
        await daemon.ctr("tasks", "delete", "t1");
        expect(await daemon.tasks()).toEqual([]);
        await daemon.out("containers", "rm", "t1");
        await eventually(() => events.lines.some((line) => line.includes("/containers/delete")));
        events.stop();
        const topics = events.lines.map((line) => line.split(" ")[5] ?? "");
        expect(topics.filter((topic) => topic.startsWith("/tasks/"))).toEqual([
          "/tasks/create",
          "/tasks/start",
          "/tasks/exec-added",
          "/tasks/exec-started",
          "/tasks/exit",
          "/tasks/paused",
          "/tasks/resumed",
          "/tasks/exit",
          "/tasks/delete",
        ]);
        await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
      });
    });
  }
});
