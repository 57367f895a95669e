import { expect, test } from "bun:test";
import fs from "node:fs";
import { eventually, givenNats } from "@longshore/testkit";
import { connect } from "nats";
import { useWorld } from "../world.ts";
import { natsImpostor } from "./attack-programs.ts";

const world = useWorld({ pull: ["attacker"] });
const docker = (...args: string[]) => world().docker()(...args);

test.skipIf(givenNats !== undefined)(
  "a container on the host's network that takes NATS's port is told nothing",
  async () => {
    const { suite } = world().engine;
    const token = fs.readFileSync(suite.paths.natsTokenFile, "utf8").trim();
    const port = Number(new URL(suite.natsUrl).port);
    await suite.kill("nats-server", "SIGKILL");
    const impostor = await docker("run", "-d", "--net=host", world().attacker, ...natsImpostor(port));
    const heard = () => docker("logs", impostor);
    await eventually(async () => (await heard()).includes("listening"), { what: "the impostor" });
    const id = await docker("run", "-d", "--net=none", world().attacker, "sh", "-c", "exit 7");
    expect(await docker("wait", id)).toBe("7");
    // dockerd, containerd and the shim, some of them more than once.
    const tries = async () => (await heard()).split("\n").filter((line) => line === "connection").length;
    await eventually(async () => (await tries()) >= 6, { what: "connections", timeoutMs: 30_000 });
    const all = await heard();
    await docker("rm", "-f", impostor);
    expect(all).not.toContain(token);
    expect(new Set(all.split("\n"))).toEqual(new Set(["listening", "connection"]));

    await suite.start("nats-server");
    const client = await connect({ servers: suite.natsUrl, token });
    try {
      const manager = await client.jetstreamManager();
      const lastOf = `longshore.events.*.moby.tasks.exit.${id}`;
      const message = await eventually(
        () => manager.streams.getMessage("LONGSHORE_EVENTS", { last_by_subj: lastOf }),
        { what: "the exit event in the stream", timeoutMs: 20_000 },
      );
      expect(message.json<{ event: { exit_status: number } }>().event.exit_status).toBe(7);
    } finally {
      await client.close();
      await docker("rm", "-f", id);
    }
  },
  120_000,
);
