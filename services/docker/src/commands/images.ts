import { familiarName, tryParseReference } from "@longshore/reference";
import type { Command } from "../command.ts";
import type { ImageSummary } from "../engine/types.ts";
import { type Column, formatList } from "../format/list.ts";
import { goTime, shortId } from "../format/text.ts";
import { humanDuration, humanSize } from "../format/units.ts";
import { writeAll } from "../io/output.ts";
import { FILTER_FLAG, parseFilters } from "./filters.ts";

const TABLE = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_DIGESTS = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const NONE = "<none>";

export const images: Command = {
  name: "docker images",
  usage: "[OPTIONS] [REPOSITORY[:TAG]]",
  summary: "List images",
  arity: { min: 0, max: 1 },
  flags: [
    { name: "all", short: "a", kind: "bool", help: "Show all images (default hides intermediate images)" },
    { name: "digests", kind: "bool", help: "Show digests" },
    FILTER_FLAG,
    {
      name: "format",
      kind: "string",
      help: "Format output using a custom template: 'table', 'json' or a Go template",
    },
    { name: "no-trunc", kind: "bool", help: "Don't truncate output" },
    { name: "quiet", short: "q", kind: "bool", help: "Only show image IDs" },
  ],
  unsupported: ["--tree"],
  async run({ client, flags, args: [name] }) {
    const list = await client.json<ImageSummary[]>({
      path: "/images/json",
      query: {
        all: flags.bool("all") ? 1 : undefined,
        filters: parseFilters(flags.list("filter"), name === undefined ? {} : { reference: name }),
      },
    });
    const digests = flags.bool("digests");
    const format = flags.string("format") || "table";
    const rows = list.flatMap((image) =>
      imageRows(image, { digests: digests || format.includes("{{.Digest}}") }),
    );
    const columns = imageColumns(!flags.bool("no-trunc"), Date.now());
    const usual = digests ? TABLE_DIGESTS : TABLE;
    writeAll(
      1,
      formatList(rows, {
        type: "*formatter.imageContext",
        columns,
        format,
        usual,
        quiet: flags.bool("quiet"),
      }),
    );
    return 0;
  },
};

/** An image as one of its names shows it. */
export interface ImageRow {
  image: ImageSummary;
  repository: string;
  tag: string;
  digest: string;
}

/** One row for each tag (with digests: and each digest of that repository), then one for each repository known by digest only. */
export function imageRows(image: ImageSummary, { digests }: { digests: boolean }): ImageRow[] {
  const tags = grouped(image.RepoTags ?? [], "tag");
  const byDigest = grouped(image.RepoDigests ?? [], "digest");
  if (tags.size === 0 && byDigest.size === 0) return [{ image, repository: NONE, tag: NONE, digest: NONE }];
  const rows: ImageRow[] = [];
  for (const [repository, ownTags] of tags) {
    const shown = digests ? (byDigest.get(repository) ?? [NONE]) : [NONE];
    byDigest.delete(repository);
    for (const tag of ownTags) for (const digest of shown) rows.push({ image, repository, tag, digest });
  }
  for (const [repository, ownDigests] of byDigest) {
    for (const digest of digests ? ownDigests : [""]) rows.push({ image, repository, tag: NONE, digest });
  }
  return rows;
}

function grouped(names: readonly string[], part: "tag" | "digest"): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const reference = tryParseReference(name);
    const value = reference?.[part];
    if (!reference || value === undefined) continue;
    const repository = familiarName(reference);
    groups.set(repository, [...(groups.get(repository) ?? []), value]);
  }
  return groups;
}

export function imageColumns(trunc: boolean, now: number): Readonly<Record<string, Column<ImageRow>>> {
  const known = (bytes: number) => (bytes === -1 ? "N/A" : humanSize(bytes));
  return {
    Containers: {
      header: "CONTAINERS",
      value: ({ image }) => (image.Containers === -1 ? "N/A" : String(image.Containers)),
    },
    CreatedAt: { header: "CREATED AT", value: ({ image }) => goTime(image.Created) },
    CreatedSince: {
      header: "CREATED",
      value: ({ image }) => `${humanDuration(now - image.Created * 1000)} ago`,
    },
    Digest: { header: "DIGEST", value: ({ digest }) => digest },
    ID: { header: "IMAGE ID", value: ({ image }) => (trunc ? shortId(image.Id) : image.Id) },
    Repository: { header: "REPOSITORY", value: ({ repository }) => repository },
    SharedSize: { header: "SHARED SIZE", value: ({ image }) => known(image.SharedSize) },
    Size: { header: "SIZE", value: ({ image }) => humanSize(image.Size, 3) },
    Tag: { header: "TAG", value: ({ tag }) => tag },
    UniqueSize: {
      header: "UNIQUE SIZE",
      value: ({ image }) => (image.SharedSize === -1 ? "N/A" : known(image.Size - image.SharedSize)),
    },
  };
}
