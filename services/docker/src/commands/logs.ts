import type { Command } from "../command.ts";
import type { ContainerDetails } from "../engine/types.ts";
import { showOutput } from "../io/stream-session.ts";
import { parseTimestamp } from "./timestamp.ts";

export const logs: Command = {
  name: "docker logs",
  usage: "[OPTIONS] CONTAINER",
  summary: "Fetch the logs of a container",
  arity: { min: 1, max: 1 },
  flags: [
    { name: "details", kind: "bool", help: "Show extra details provided to logs" },
    { name: "follow", short: "f", kind: "bool", help: "Follow log output" },
    {
      name: "since",
      kind: "string",
      help: 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")',
    },
    {
      name: "tail",
      short: "n",
      kind: "string",
      help: "Number of lines to show from the end of the logs (default all)",
    },
    { name: "timestamps", short: "t", kind: "bool", help: "Show timestamps" },
    {
      name: "until",
      kind: "string",
      help: 'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m")',
    },
  ],
  async run({ client, flags, args: [name = ""] }) {
    const now = Date.now();
    const container = await client.json<ContainerDetails>({
      path: `/containers/${encodeURIComponent(name)}/json`,
    });
    const answer = await client.send({
      path: `/containers/${container.Id}/logs`,
      query: {
        stdout: 1,
        stderr: 1,
        since: parseTimestamp("since", flags.string("since"), now),
        until: parseTimestamp("until", flags.string("until"), now),
        timestamps: flags.bool("timestamps") ? 1 : undefined,
        details: flags.bool("details") ? 1 : undefined,
        follow: flags.bool("follow") ? 1 : undefined,
        tail: flags.string("tail") || "all",
      },
    });
    await showOutput(answer.body, container.Config.Tty);
    return 0;
  },
};
