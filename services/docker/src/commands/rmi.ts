import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { EngineRefusal } from "../engine/client.ts";
import { print, printError } from "../io/output.ts";
import { namedPlatforms } from "./platform-option.ts";

export const rmi: Command = {
  name: "docker rmi",
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  summary: "Remove one or more images",
  arity: { min: 1 },
  flags: [
    { name: "force", short: "f", kind: "bool", help: "Force removal of the image" },
    { name: "no-prune", kind: "bool", help: "Do not delete untagged parents" },
    {
      name: "platform",
      kind: "list",
      help: 'Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    },
  ],
  async run({ client, flags, args }) {
    const force = flags.bool("force");
    const query = {
      force: force ? 1 : undefined,
      noprune: flags.bool("no-prune") ? 1 : undefined,
      platforms: await namedPlatforms(client, flags, { kind: "list", since: "1.50" }),
    };
    const refusals: EngineRefusal[] = [];
    for (const image of args) {
      try {
        const removed = await client.json<{ Deleted?: string; Untagged?: string }[]>({
          method: "DELETE",
          path: `/images/${image}`,
          query,
        });
        for (const { Deleted, Untagged } of removed)
          print(Deleted ? `Deleted: ${Deleted}` : `Untagged: ${Untagged}`);
      } catch (error) {
        if (!(error instanceof EngineRefusal)) throw error;
        refusals.push(error);
      }
    }
    if (refusals.length === 0) return 0;
    const message = refusals.map((refusal) => refusal.message).join("\n");
    if (!force || refusals.some(({ status }) => status !== 404)) throw new CliError(message);
    printError(message);
    return 0;
  },
};
