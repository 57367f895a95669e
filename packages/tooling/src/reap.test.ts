import { expect, test } from "bun:test";
import path from "node:path";

test("reap.ts reaps what loses its parent, and ends with the command's status", () => {
  const script = `
    sh -c 'sleep 0.05 & echo $! >"$0"' "$1"
    read orphan <"$1"
    [ "$(sed -n 's/^PPid:.//p' /proc/$orphan/status)" = $PPID ] || exit 4
    for i in $(seq 200); do [ -d /proc/$orphan ] || exit 3; sleep 0.02; done
    exit 5`;
  const file = path.join(import.meta.dir, "reap.ts");
  const pidFile = `/tmp/ls-reap-${process.pid}`;
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, file, "sh", "-c", script, "sh", pidFile]);
  Bun.spawnSync(["rm", "-f", pidFile]);
  expect(stderr.toString()).toBe("");
  expect(exitCode).toBe(3);
});
