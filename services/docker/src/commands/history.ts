import type { Command } from "../command.ts";
import { type Column, formatList } from "../format/list.ts";
import { rfc3339, shortId } from "../format/text.ts";
import { humanDuration, humanSize } from "../format/units.ts";
import { writeAll } from "../io/output.ts";
import { namedPlatforms, orInvalidPlatform } from "./platform-option.ts";

const TABLE = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const CREATED_BY_WIDTH = 45;

interface Step {
  Id: string;
  Created: number;
  CreatedBy: string;
  Size: number;
  Comment: string;
}

export const history: Command = {
  name: "docker history",
  usage: "[OPTIONS] IMAGE",
  summary: "Show the history of an image",
  arity: { min: 1, max: 1 },
  flags: [
    {
      name: "format",
      kind: "string",
      help: "Format output using a custom template: 'table', 'json' or a Go template",
    },
    {
      name: "human",
      short: "H",
      kind: "bool",
      help: "Print sizes and dates in human readable format (default true)",
    },
    { name: "no-trunc", kind: "bool", help: "Don't truncate output" },
    {
      name: "platform",
      kind: "string",
      help: 'Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
    },
    { name: "quiet", short: "q", kind: "bool", help: "Only show image IDs" },
  ],
  async run({ client, flags, args: [image = ""] }) {
    const platform = await orInvalidPlatform(
      namedPlatforms(client, flags, { kind: "string", since: "1.48" }),
    );
    const steps = await client.json<Step[]>({ path: `/images/${image}/history`, query: { platform } });
    const human = !flags.has("human") || flags.bool("human");
    const columns = historyColumns({ human, trunc: !flags.bool("no-trunc"), now: Date.now() });
    const format = flags.string("format") || "table";
    writeAll(
      1,
      formatList(steps, {
        type: "*image.historyContext",
        columns,
        format,
        usual: TABLE,
        quiet: flags.bool("quiet"),
      }),
    );
    return 0;
  },
};

function historyColumns({ human, trunc, now }: { human: boolean; trunc: boolean; now: number }) {
  const columns: Readonly<Record<string, Column<Step>>> = {
    ID: { header: "IMAGE", value: ({ Id }) => (trunc ? shortId(Id) : Id) },
    CreatedSince: {
      header: human ? "CREATED" : "CREATED AT",
      value: ({ Created }) => (human ? `${humanDuration(now - Created * 1000)} ago` : rfc3339(Created)),
    },
    CreatedAt: { header: "CREATED AT", value: ({ Created }) => rfc3339(Created) },
    CreatedBy: {
      header: "CREATED BY",
      value: ({ CreatedBy }) => {
        const text = CreatedBy.replaceAll("\t", " ");
        return trunc && text.length > CREATED_BY_WIDTH ? `${text.slice(0, CREATED_BY_WIDTH - 1)}…` : text;
      },
    },
    Size: { header: "SIZE", value: ({ Size }) => (human ? humanSize(Size, 3) : String(Size)) },
    Comment: { header: "COMMENT", value: ({ Comment }) => Comment },
  };
  return columns;
}
