import { describe, expect, test } from "bun:test";
import { eventually } from "@longshore/testkit";
import { Daemon, haveCtr, present } from "./daemon.ts";

const ours = present.find(({ name }) => name === "our shim");

/** More rounds find more: `LONGSHORE_TEST_ROUNDS=200`. */
const ROUNDS = Number(process.env.LONGSHORE_TEST_ROUNDS ?? 5);

for (const shim of present) {
  describe.skipIf(!haveCtr)(`with ${shim.name}`, () => {
    test(
      "containerd killed at random moments, while containers start and end: nothing is lost or left",
      async () => {
        await using daemon = await Daemon.start();
        await daemon.runDetached(shim, "stays", "/bin/sleep", "1000");
        for (let round = 0; round < ROUNDS; round++) {
          const ids = [0, 1, 2].map((n) => `r${round}n${n}`);
          const runs = ids.map((id) => daemon.run(shim, ["-d"], id, "/bin/sh", "-c", "sleep 0.1; exit 5"));
          await Bun.sleep(Math.random() * 250);
          await daemon.signal("SIGKILL");
          await Promise.all(runs);
          await daemon.start();
          expect(await daemon.status("stays")).toBe("RUNNING");
          // What was created ends with its own status or, where only half of it had been made, is gone; nothing runs for ever.
          for (const id of ids) {
            const status = await eventually(async () => {
              const now = (await daemon.status(id)) ?? "GONE";
              return now !== "RUNNING" && now;
            });
            if (status === "CREATED") await daemon.out("tasks", "kill", "--signal", "SIGKILL", id);
            if (status === "STOPPED") {
              const { stderr } = await daemon.ctr("tasks", "delete", id);
              expect(stderr).toContain("non-zero exit code 5");
            } else if (status !== "GONE") await daemon.ctr("tasks", "delete", "--force", id);
            await daemon.ctr("containers", "rm", id);
          }
          // A real shim whose client goes kills the runc that creates a container, which may leave its cgroup.
          const excused = (leak: string) =>
            leak.includes("stays") || (shim !== ours && leak.startsWith("/sys/"));
          const strangers = () => daemon.leaks().filter((leak) => !excused(leak));
          await eventually(() => strangers().length === 0, {
            what: `no leaks in round ${round}: ${strangers()}`,
          });
        }
      },
      ROUNDS * 20_000,
    );
  });
}
