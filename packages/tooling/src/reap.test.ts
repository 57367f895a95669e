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

test("reap.ts names and ends what the command leaves running, which is a failure", () => {
  const file = path.join(import.meta.dir, "reap.ts");
  const script = "sh -c 'sleep 1234 & sleep 1235 & wait' & true";
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, file, "sh", "-c", script]);
  const lines = stdout.toString().trim().split("\n");
  const commands = lines.map((line) => line.replace(/^left running: \d+ /, "")).sort();
  expect(commands).toEqual(["sh -c sleep 1234 & sleep 1235 & wait", "sleep 1234", "sleep 1235"]);
  expect(exitCode).toBe(99);
  for (const line of lines) {
    const pid = Number(/\d+/.exec(line)?.[0]);
    const state = () =>
      Bun.spawnSync(["ps", "-o", "stat=", "-p", String(pid)])
        .stdout.toString()
        .trim();
    while (state() !== "" && !state().startsWith("Z"));
  }
});
