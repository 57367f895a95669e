import type { Command } from "../command.ts";
import { formatTable } from "../format/table.ts";
import { writeAll } from "../io/output.ts";

const COLUMN_WIDTH = 20;

export const top: Command = {
  name: "docker top",
  usage: "CONTAINER [ps OPTIONS]",
  summary: "Display the running processes of a container",
  arity: { min: 1 },
  flags: [],
  stopAtArgument: true,
  async run({ client, args: [name = "", ...options] }) {
    const { Titles, Processes } = await client.json<{ Titles: string[]; Processes: string[][] | null }>({
      path: `/containers/${encodeURIComponent(name)}/top`,
      query: { ps_args: options.join(" ") || undefined },
    });
    writeAll(1, formatTable([Titles, ...(Processes ?? [])], { minWidth: COLUMN_WIDTH }));
    return 0;
  },
};
