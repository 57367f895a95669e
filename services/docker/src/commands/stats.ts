import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type EngineClient, EngineRefusal } from "../engine/client.ts";
import type { ContainerSummary } from "../engine/types.ts";
import { formatList } from "../format/list.ts";
import { linesOf } from "../io/lines.ts";
import { printError, writeAll } from "../io/output.ts";
import { isTerminal } from "../io/terminal.ts";
import { type StatsAnswer, type StatsRow, statsColumns } from "./stats-row.ts";

const USUAL =
  "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const REFRESH_MS = 500;
const CLEAR = "\u001b[2J\u001b[H";

export const stats: Command = {
  name: "docker stats",
  usage: "[OPTIONS] [CONTAINER...]",
  summary: "Display a live stream of container(s) resource usage statistics",
  arity: { min: 0 },
  flags: [
    { name: "all", short: "a", kind: "bool", help: "Show all containers (default shows just running)" },
    {
      name: "format",
      kind: "string",
      help: "Format output using a custom template: 'table', 'json' or a Go template",
    },
    { name: "no-stream", kind: "bool", help: "Disable streaming stats and only pull the first result" },
    { name: "no-trunc", kind: "bool", help: "Do not truncate output" },
  ],
  async run({ client, flags, args }) {
    if (flags.bool("all") && args.length > 0) {
      throw new CliError("the --all flag can't be used when listing containers");
    }
    const columns = statsColumns(!flags.bool("no-trunc"));
    const format = flags.string("format") || "table";
    const show = (rows: readonly StatsRow[]) =>
      formatList(rows, { type: "*container.statsContext", columns, format, usual: USUAL, quiet: false });
    const list = () =>
      args.length > 0 ? Promise.resolve([...args]) : containerIds(client, flags.bool("all"));
    if (!flags.bool("no-stream")) return follow(client, list, show);
    const names = await list();
    const failures: unknown[] = [];
    const rows = await Promise.all(
      names.map(async (name) => {
        const path = `/containers/${encodeURIComponent(name)}/stats`;
        return {
          name,
          stats: await client.json<StatsAnswer>({ path, query: { stream: 0 } }).catch((error: unknown) => {
            failures.push(error);
            return undefined;
          }),
        };
      }),
    );
    writeAll(1, show(rows));
    for (const failure of failures) printError(failure instanceof Error ? failure.message : String(failure));
    return failures.length > 0 ? 1 : 0;
  },
};

async function containerIds(client: EngineClient, all: boolean): Promise<string[]> {
  const query = { all: all ? 1 : undefined };
  const containers = await client.json<ContainerSummary[]>({ path: "/containers/json", query });
  return containers.map(({ Id }) => Id);
}

/** Show what each container uses, again and again; those that come and go too, unless they were named. */
async function follow(
  client: EngineClient,
  list: () => Promise<string[]>,
  show: (rows: readonly StatsRow[]) => string,
): Promise<number> {
  const rows = new Map<string, StatsRow>();
  const failed = Promise.withResolvers<never>();
  const watch = async (row: StatsRow): Promise<void> => {
    try {
      const { body } = await client.send({ path: `/containers/${encodeURIComponent(row.name)}/stats` });
      for await (const line of linesOf(body)) row.stats = JSON.parse(line) as StatsAnswer;
    } catch (error) {
      if (!(error instanceof EngineRefusal)) throw error;
      failed.reject(error);
    } finally {
      rows.delete(row.name);
    }
  };
  const refresh = async (): Promise<never> => {
    for (;;) {
      const names = await list();
      for (const name of rows.keys()) if (!names.includes(name)) rows.delete(name);
      for (const name of names) {
        if (rows.has(name)) continue;
        const row = { name, stats: undefined };
        rows.set(name, row);
        void watch(row).catch(failed.reject);
      }
      writeAll(1, (isTerminal(1) ? CLEAR : "") + show([...rows.values()]));
      await Bun.sleep(REFRESH_MS);
    }
  };
  return Promise.race([refresh(), failed.promise]);
}
