import { tryParseReference } from "@longshore/reference";
import type { Command } from "../command.ts";
import { registryAuth } from "../engine/registry-auth.ts";
import { checkInteger } from "../flags.ts";
import { type Column, formatList } from "../format/list.ts";
import { ellipsis } from "../format/text.ts";
import { writeAll } from "../io/output.ts";
import { FILTER_FLAG, parseFilters } from "./filters.ts";

const TABLE = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const DESCRIPTION_WIDTH = 45;

interface Hit {
  name: string;
  description: string;
  star_count: number;
  is_official: boolean;
  is_automated: boolean;
}

export const search: Command = {
  name: "docker search",
  usage: "[OPTIONS] TERM",
  summary: "Search Docker Hub, or a registry named before the term, for images",
  arity: { min: 1, max: 1 },
  flags: [
    FILTER_FLAG,
    { name: "format", kind: "string", help: "Pretty-print search using a Go template" },
    {
      name: "limit",
      kind: "string",
      value: "int",
      help: "Max number of search results",
      check: checkInteger,
    },
    { name: "no-trunc", kind: "bool", help: "Don't truncate output" },
  ],
  async run({ client, flags, args: [term = ""] }) {
    const auth = await registryAuth(tryParseReference(term)?.domain ?? "docker.io");
    const hits = await client.json<Hit[]>({
      path: "/images/search",
      query: { term, limit: flags.string("limit") || undefined, filters: parseFilters(flags.list("filter")) },
      ...(auth && { headers: { "X-Registry-Auth": auth } }),
    });
    hits.sort((a, b) => b.star_count - a.star_count || (a.name < b.name ? -1 : 1));
    const columns = searchColumns(!flags.bool("no-trunc"));
    const format = flags.string("format") || "table";
    writeAll(
      1,
      formatList(hits, { type: "*registry.searchContext", columns, format, usual: TABLE, quiet: false }),
    );
    return 0;
  },
};

function searchColumns(trunc: boolean): Readonly<Record<string, Column<Hit>>> {
  const mark = (value: boolean) => (value ? "[OK]" : "");
  return {
    Name: { header: "NAME", value: ({ name }) => name },
    Description: {
      header: "DESCRIPTION",
      value: ({ description }) => {
        const line = description.replace(/[\r\n]/g, " ");
        return trunc ? ellipsis(line, DESCRIPTION_WIDTH) : line;
      },
    },
    StarCount: { header: "STARS", value: ({ star_count }) => String(star_count) },
    IsOfficial: { header: "OFFICIAL", value: ({ is_official }) => mark(is_official) },
    IsAutomated: { header: "AUTOMATED", value: ({ is_automated }) => mark(is_automated) },
  };
}
