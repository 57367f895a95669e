import { UsageError } from "@longshore/cli";
import type { Arguments } from "../cli/command.ts";
import { credentialsFor, registryOptions, wantsJson } from "../cli/registry-arguments.ts";
import { printTable } from "../cli/table.ts";
import { type SearchHit, search, splitTerm } from "../registry/search.ts";

const DESCRIPTION_LENGTH = 45;

/** `search TERM`: as docker shows it. */
export async function searchImages(args: Arguments, signal: AbortSignal): Promise<number> {
  const term = args.positional(0);
  const json = wantsJson(args);
  const limit = Number(args.text("limit") ?? 0);
  if (!Number.isInteger(limit)) throw new UsageError(`--limit wants a number, not ${args.text("limit")}`);
  const { domain } = splitTerm(term);
  const hub = domain === "index.docker.io" ? "docker.io" : domain;
  const credentials = await credentialsFor(args, hub, signal);
  const hits = await search({ term, limit, credentials }, registryOptions(args), signal);
  if (json) for (const hit of hits) console.log(JSON.stringify(hit));
  else printTable(["NAME", "DESCRIPTION", "STARS", "OFFICIAL"], hits.map(row));
  return 0;
}

function row({ name, description, stars, official }: SearchHit): string[] {
  const line = description.replaceAll("\n", " ").replaceAll("\r", "");
  const short = line.length > DESCRIPTION_LENGTH ? `${line.slice(0, DESCRIPTION_LENGTH - 1)}…` : line;
  return [name, short, String(stars), official ? "[OK]" : ""];
}
