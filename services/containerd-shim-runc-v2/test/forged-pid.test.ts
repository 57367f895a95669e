import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { canRun, Harness, peerRunc } from "./harness.ts";

/** A runtime that writes `pid` into the pid file of each exec, whatever the process is. */
function forgingRuntime(dir: string, pid: number): string {
  const file = path.join(dir, "forging-runc");
  const script = `#!/bin/sh
"${peerRunc}" "$@"
status=$?
case " $* " in *" exec "*)
  while [ $# -gt 0 ]; do [ "$1" = --pid-file ] && printf %s ${pid} >"$2"; shift; done
esac
exit $status
`;
  fs.writeFileSync(file, script, { mode: 0o755 });
  return file;
}

describe.skipIf(!canRun)("a pid that is not of a child of the shim", () => {
  test("is refused, and gets no signal", async () => {
    await using harness = new Harness();
    const stranger = Bun.spawn(["sleep", "1000"]);
    try {
      const runc = forgingRuntime(harness.dir, stranger.pid);
      const container = await harness.container({ args: ["sleep", "1000"], runc });
      await container.create();
      await container.start();
      await container.exec("x", ["sleep", "1000"]);
      await expect(container.start("x")).rejects.toThrow(`is not a child of the shim: ${stranger.pid}`);
      await container.kill(9, "x").catch(() => {});
      expect(stranger.exitCode).toBeNull();
      expect(stranger.signalCode).toBeNull();
      // The shim reaps its own processes as before.
      const ended = container.wait();
      await container.kill(9);
      expect((await ended).exitStatus).toBe(137);
    } finally {
      stranger.kill("SIGKILL");
      await stranger.exited;
    }
  });
});
