import { expect, test } from "bun:test";
import fs from "node:fs";
import { eventually, givenNats } from "@longshore/testkit";
import { connect } from "nats";
import { useWorld } from "../world.ts";
import { natsImpostor } from "./attack-programs.ts";

const world = useWorld({ pull: ["attacker"] });
const docker = (...args: string[]) => world().docker()(...args);

/** Who finds the impostor out, in which daemon's log; containerd's has the lines of its shims. */
const REFUSALS = [
  ["dockerd's refusal", "dockerd", /it is not trusted with the token/],
  ["containerd's refusal", "containerd", /"name":"containerd".*it is not trusted with the token/],
  ["the shim's refusal", "containerd", /containerd-shim-runc-v2.*it is not trusted with the token/],
] as const;

test.skipIf(givenNats !== undefined)(
  "a container on the host's network that takes NATS's port is told nothing",
  async () => {
    const { suite } = world().engine;
    const token = fs.readFileSync(suite.paths.natsTokenFile, "utf8").trim();
    const port = Number(new URL(suite.natsUrl).port);
    await suite.kill("nats-server", "SIGKILL");
    const attack = natsImpostor(port);
    const impostor = await docker("run", "-d", "--net=host", world().attacker, ...attack);
    const heard = () => docker("logs", impostor);
    await eventually(async () => (await heard()).includes("listening"), { what: "the impostor" });
    const id = await docker("run", "-d", "--net=none", world().attacker, "sh", "-c", "exit 7");
    try {
      expect(await docker("wait", id)).toBe("7");
      for (const [what, daemon, pattern] of REFUSALS)
        await eventually(() => pattern.test(suite.output(daemon)), { what });
      expect(new Set((await heard()).split("\n"))).toEqual(new Set(["listening", "connection"]));
    } finally {
      await docker("rm", "-f", impostor);
      await suite.start("nats-server");
    }

    const client = await connect({ servers: suite.natsUrl, token });
    try {
      const manager = await client.jetstreamManager();
      const lastOf = `longshore.events.*.moby.tasks.exit.${id}`;
      const message = await eventually(
        () => manager.streams.getMessage("LONGSHORE_EVENTS", { last_by_subj: lastOf }),
        { what: "the exit event in the stream" },
      );
      expect(message.json<{ event: { exit_status: number } }>().event.exit_status).toBe(7);
    } finally {
      await client.close();
      await docker("rm", "-f", id);
    }
  },
  120_000,
);
