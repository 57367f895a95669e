import { expect, test } from "bun:test";
import { eventually } from "@longshore/testkit";
import { useWorld } from "../world.ts";
import { parseWatched, procWatcher } from "./attack-programs.ts";

const world = useWorld({ pull: ["attacker"] });
const docker = (...args: string[]) => world().docker()(...args);

async function watching(id: string): Promise<void> {
  await eventually(() => docker("exec", id, "test", "-e", "/tmp/watching").then(() => true));
}

/** What a process of the container may be seen to have open besides its standard streams: nothing of the host. */
const OWN =
  /^(\/dev\/null|\/dev\/pts\/\d+|\/dev\/console|pipe:\[\d+\]|socket:\[\d+\]|\/proc|\/proc\/\d+\/.*|\/tmp\/.*|\/etc\/.*|\/)$/;

test.each([
  ["the defaults", []],
  ["no-new-privileges", ["--security-opt", "no-new-privileges"]],
  ["seccomp=unconfined", ["--security-opt", "seccomp=unconfined"]],
  ["CAP_SYS_PTRACE", ["--cap-add", "SYS_PTRACE"]],
  ["--privileged", ["--privileged", "--cap-drop", "SYS_MODULE"]],
] as const)(
  "with %s, no descriptor of the host is open in a process that the container sees",
  async (_, options) => {
    const id = await docker("run", "-d", "--net=none", ...options, world().attacker, ...procWatcher());
    try {
      await watching(id);
      for (let count = 0; count < 10; count++) {
        await docker("exec", id, "true");
        await docker("exec", "-u", "1000", id, "true");
        await docker("exec", "-i", "-w", "/tmp", id, "true");
        await docker("exec", id, "sh", "-c", "kill $$").catch(() => {});
      }
      await docker("update", "--memory", "64m", "--memory-swap", "64m", id).catch(() => {});
      // Detached: the container's end, which the file brings about, can kill touch before it ends.
      await docker("exec", "-d", id, "touch", "/tmp/stop");
      await docker("wait", id);
      const seen = parseWatched(await docker("logs", id));
      const foreign = seen.flatMap(({ process, links }) =>
        Object.entries(links)
          .filter(([name, target]) => /^fd\/([3-9]|\d\d)/.test(name) && !target.startsWith("/tmp/"))
          .map(([name, target]) => `${process} ${name} -> ${target}`),
      );
      expect(foreign).toEqual([]);
      for (const { links } of seen) {
        for (const fd of [0, 1, 2]) expect(links[`fd/${fd}`] ?? "/dev/null").toMatch(OWN);
        expect(links.root ?? "/").toBe("/");
      }
      // The watcher can tell: it has seen processes of the execs.
      expect(seen.length).toBeGreaterThan(0);
    } finally {
      await docker("rm", "-f", id);
    }
  },
);
