import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { ContainerSummary, ImageSummary } from "../engine/types.ts";
import { type Column, formatList } from "../format/list.ts";
import { humanSize } from "../format/units.ts";
import { writeAll } from "../io/output.ts";
import { imageColumns, imageRows } from "./images.ts";
import { containerColumns } from "./ps.ts";

const TABLE = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

interface DiskUsage {
  LayersSize: number;
  Images: ImageSummary[] | null;
  Containers: ContainerSummary[] | null;
  Volumes: { Name: string; UsageData?: { Size: number; RefCount: number } | null }[] | null;
  BuildCache: { Size: number; InUse: boolean; Shared: boolean }[] | null;
}

interface Row {
  type: string;
  total: number;
  active: number;
  size: number;
  reclaimable: number;
  /** Whether the part that could go is shown as a share of the whole. */
  share: boolean;
}

export const diskUsage: Command = {
  name: "docker system df",
  usage: "[OPTIONS]",
  summary: "Show docker disk usage",
  arity: { min: 0, max: 0 },
  flags: [
    { name: "verbose", short: "v", kind: "bool", help: "Show detailed information on space usage" },
    {
      name: "format",
      kind: "string",
      help: "Format output using a custom template: 'table', 'json' or a Go template",
    },
  ],
  async run({ client, flags }) {
    const usage = await client.json<DiskUsage>({ path: "/system/df" });
    if (flags.bool("verbose")) {
      if (flags.has("format")) throw new CliError("the verbose and the format options conflict");
      writeAll(1, details(usage));
      return 0;
    }
    const format = flags.string("format") || "table";
    writeAll(
      1,
      formatList(rows(usage), {
        type: "*formatter.diskUsageContext",
        columns: COLUMNS,
        format,
        usual: TABLE,
        quiet: false,
      }),
    );
    return 0;
  },
};

const IMAGES =
  "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS =
  "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES = "table {{.Name}}\t{{.Links}}\t{{.Size}}";

type Volume = NonNullable<DiskUsage["Volumes"]>[number];

const VOLUME_COLUMNS: Readonly<Record<string, Column<Volume>>> = {
  Name: { header: "VOLUME NAME", value: ({ Name }) => Name },
  Links: { header: "LINKS", value: ({ UsageData }) => String(UsageData?.RefCount ?? "N/A") },
  Size: { header: "SIZE", value: ({ UsageData }) => (UsageData ? humanSize(UsageData.Size) : "N/A") },
};

/** Each thing for itself. */
function details({ Images, Containers, Volumes, BuildCache }: DiskUsage): string {
  const now = Date.now();
  const images = (Images ?? []).flatMap((image) => imageRows(image, { digests: false }));
  const cache = (BuildCache ?? []).reduce((sum, { Size }) => sum + Size, 0);
  return [
    "Images space usage:\n",
    table(images, imageColumns(true, now), IMAGES),
    "Containers space usage:\n",
    table(Containers ?? [], containerColumns(true, now), CONTAINERS),
    "Local Volumes space usage:\n",
    table(Volumes ?? [], VOLUME_COLUMNS, VOLUMES),
    `Build cache usage: ${humanSize(cache)}\n`,
  ].join("\n");
}

function table<T>(items: readonly T[], columns: Readonly<Record<string, Column<T>>>, format: string): string {
  return formatList(items, {
    type: "*formatter.diskUsageContext",
    columns,
    format,
    usual: format,
    quiet: false,
  });
}

function rows({ LayersSize, Images, Containers, Volumes, BuildCache }: DiskUsage): Row[] {
  const images = Images ?? [];
  const containers = Containers ?? [];
  const volumes = Volumes ?? [];
  const cache = BuildCache ?? [];
  const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);
  const used = images.filter(({ Containers: count }) => count > 0);
  const usedBytes = sum(used.map(({ Size, SharedSize }) => (SharedSize === -1 ? Size : Size - SharedSize)));
  const live = containers.filter(({ State }) => ["running", "paused", "restarting"].includes(State));
  const sizesRw = (list: readonly ContainerSummary[]) => sum(list.map(({ SizeRw = 0 }) => SizeRw));
  const volumeSizes = (list: typeof volumes) => sum(list.map(({ UsageData }) => UsageData?.Size ?? 0));
  const inUse = volumes.filter(({ UsageData }) => (UsageData?.RefCount ?? 0) > 0);
  return [
    {
      type: "Images",
      total: images.length,
      active: used.length,
      size: LayersSize,
      reclaimable: Math.max(0, LayersSize - usedBytes),
      share: true,
    },
    {
      type: "Containers",
      total: containers.length,
      active: live.length,
      size: sizesRw(containers),
      reclaimable: sizesRw(containers) - sizesRw(live),
      share: true,
    },
    {
      type: "Local Volumes",
      total: volumes.length,
      active: inUse.length,
      size: volumeSizes(volumes),
      reclaimable: volumeSizes(volumes) - volumeSizes(inUse),
      share: true,
    },
    {
      type: "Build Cache",
      total: cache.length,
      active: cache.filter(({ InUse }) => InUse).length,
      size: sum(cache.map(({ Size }) => Size)),
      reclaimable: sum(cache.filter(({ InUse, Shared }) => !InUse && !Shared).map(({ Size }) => Size)),
      share: false,
    },
  ];
}

const COLUMNS: Readonly<Record<string, Column<Row>>> = {
  Type: { header: "TYPE", value: ({ type }) => type },
  TotalCount: { header: "TOTAL", value: ({ total }) => String(total) },
  Active: { header: "ACTIVE", value: ({ active }) => String(active) },
  Size: { header: "SIZE", value: ({ size }) => humanSize(size) },
  Reclaimable: {
    header: "RECLAIMABLE",
    value: ({ size, reclaimable, share }) =>
      share && size > 0
        ? `${humanSize(reclaimable)} (${Math.trunc((reclaimable * 100) / size)}%)`
        : humanSize(reclaimable),
  },
};
