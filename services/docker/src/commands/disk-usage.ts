import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { isOlder } from "../engine/client.ts";
import type { ContainerSummary, ImageSummary } from "../engine/types.ts";
import { type Column, formatList } from "../format/list.ts";
import { shortId } from "../format/text.ts";
import { humanDuration, humanSize } from "../format/units.ts";
import { writeAll } from "../io/output.ts";
import { imageColumns, imageRows } from "./images.ts";
import { containerColumns } from "./ps.ts";

const TABLE = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

interface Volume {
  Name: string;
  UsageData?: { Size: number; RefCount: number } | null;
}

interface BuildCache {
  ID: string;
  Type: string;
  Size: number;
  InUse: boolean;
  Shared: boolean;
  CreatedAt: string;
  LastUsedAt?: string | null;
  UsageCount: number;
}

/** Answers before API 1.52. */
export interface OldDiskUsage {
  LayersSize?: number;
  Images?: ImageSummary[] | null;
  Containers?: ContainerSummary[] | null;
  Volumes?: Volume[] | null;
  BuildCache?: BuildCache[] | null;
}

/** Of things of one kind; what is left out is zero, or none. */
interface Usage<T> {
  ActiveCount?: number;
  TotalCount?: number;
  TotalSize?: number;
  Reclaimable?: number;
  Items?: T[] | null;
}

export interface DiskUsage {
  ImageUsage?: Usage<ImageSummary>;
  ContainerUsage?: Usage<ContainerSummary>;
  VolumeUsage?: Usage<Volume>;
  BuildCacheUsage?: Usage<BuildCache>;
}

interface Row extends Usage<unknown> {
  type: string;
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
    const verbose = flags.bool("verbose");
    if (verbose && flags.has("format")) throw new CliError("the verbose and the format options conflict");
    const isOld = isOlder(await client.version(), "1.52");
    const answer = await client.json<DiskUsage & OldDiskUsage>({
      path: "/system/df",
      query: { verbose: verbose && !isOld ? 1 : undefined },
    });
    const usage = isOld ? usageOf(answer) : answer;
    if (verbose) {
      writeAll(1, details(usage, Date.now()));
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

const VOLUME_COLUMNS: Readonly<Record<string, Column<Volume>>> = {
  Name: { header: "VOLUME NAME", value: ({ Name }) => Name },
  Links: { header: "LINKS", value: ({ UsageData }) => String(UsageData?.RefCount ?? "N/A") },
  Size: { header: "SIZE", value: ({ UsageData }) => (UsageData ? humanSize(UsageData.Size) : "N/A") },
};

const BUILD_CACHE =
  "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

function buildCacheColumns(now: number): Readonly<Record<string, Column<BuildCache>>> {
  const since = (time: string) => `${humanDuration(now - Date.parse(time))} ago`;
  return {
    ID: { header: "CACHE ID", value: ({ ID, InUse }) => shortId(ID) + (InUse ? "*" : "") },
    CacheType: { header: "CACHE TYPE", value: ({ Type }) => Type },
    Size: { header: "SIZE", value: ({ Size }) => humanSize(Size, 3) },
    CreatedSince: { header: "CREATED", value: ({ CreatedAt }) => since(CreatedAt) },
    LastUsedSince: { header: "LAST USED", value: ({ LastUsedAt }) => (LastUsedAt ? since(LastUsedAt) : "") },
    UsageCount: { header: "USAGE", value: ({ UsageCount }) => String(UsageCount) },
    Shared: { header: "SHARED", value: ({ Shared }) => String(Shared) },
  };
}

/** Each thing for itself: of a container only what it has written. */
export function details(
  { ImageUsage, ContainerUsage, VolumeUsage, BuildCacheUsage }: DiskUsage,
  now: number,
): string {
  const images = (ImageUsage?.Items ?? []).flatMap((image) => imageRows(image, { digests: false }));
  const containers = (ContainerUsage?.Items ?? []).map((one) => ({ ...one, SizeRootFs: 0 }));
  return [
    "Images space usage:\n",
    table(images, imageColumns(true, now), IMAGES),
    "Containers space usage:\n",
    table(containers, containerColumns(true, now), CONTAINERS),
    "Local Volumes space usage:\n",
    table(VolumeUsage?.Items ?? [], VOLUME_COLUMNS, VOLUMES),
    `Build cache usage: ${humanSize(BuildCacheUsage?.TotalSize ?? 0)}\n`,
    table(BuildCacheUsage?.Items ?? [], buildCacheColumns(now), BUILD_CACHE),
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

function rows({ ImageUsage, ContainerUsage, VolumeUsage, BuildCacheUsage }: DiskUsage): Row[] {
  return [
    { type: "Images", share: true, ...ImageUsage },
    { type: "Containers", share: true, ...ContainerUsage },
    { type: "Local Volumes", share: true, ...VolumeUsage },
    { type: "Build Cache", share: false, ...BuildCacheUsage },
  ];
}

const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);

/** What an older engine tells, added up. */
export function usageOf({
  LayersSize = 0,
  Images,
  Containers,
  Volumes,
  BuildCache,
}: OldDiskUsage): DiskUsage {
  const images = Images ?? [];
  const usedImages = images.filter(({ Containers: count }) => count > 0);
  const unusedImages = images.filter(({ Containers: count }) => count === 0);
  const containers = Containers ?? [];
  const stopped = containers.filter(({ State }) => !["running", "paused", "restarting"].includes(State));
  const writable = (list: readonly ContainerSummary[]) => sum(list.map(({ SizeRw = 0 }) => SizeRw));
  const volumes = Volumes ?? [];
  const unusedVolumes = volumes.filter(({ UsageData }) => !UsageData?.RefCount);
  const inVolumes = (list: readonly Volume[]) =>
    sum(list.map(({ UsageData }) => Math.max(0, UsageData?.Size ?? 0)));
  const own = (BuildCache ?? []).filter(({ Shared }) => !Shared);
  return {
    ImageUsage: {
      ...{ ActiveCount: usedImages.length, TotalCount: images.length, TotalSize: LayersSize, Items: images },
      Reclaimable: sum(unusedImages.map(({ Size, SharedSize }) => Size - Math.max(0, SharedSize))),
    },
    ContainerUsage: {
      ...{ ActiveCount: containers.length - stopped.length, TotalCount: containers.length },
      ...{ TotalSize: writable(containers), Reclaimable: writable(stopped), Items: containers },
    },
    VolumeUsage: {
      ...{ ActiveCount: volumes.length - unusedVolumes.length, TotalCount: volumes.length },
      ...{ TotalSize: inVolumes(volumes), Reclaimable: inVolumes(unusedVolumes), Items: volumes },
    },
    BuildCacheUsage: {
      ActiveCount: (BuildCache ?? []).filter(({ InUse }) => InUse).length,
      TotalCount: (BuildCache ?? []).length,
      TotalSize: sum(own.map(({ Size }) => Size)),
      Reclaimable: sum(own.filter(({ InUse }) => !InUse).map(({ Size }) => Size)),
      Items: BuildCache ?? [],
    },
  };
}

const COLUMNS: Readonly<Record<string, Column<Row>>> = {
  Active: { header: "ACTIVE", value: ({ ActiveCount = 0 }) => String(ActiveCount) },
  Reclaimable: {
    header: "RECLAIMABLE",
    value: ({ TotalSize = 0, Reclaimable = 0, share }) =>
      share && TotalSize > 0
        ? `${humanSize(Reclaimable)} (${Math.trunc((Reclaimable * 100) / TotalSize)}%)`
        : humanSize(Reclaimable),
  },
  Size: { header: "SIZE", value: ({ TotalSize = 0 }) => humanSize(TotalSize) },
  TotalCount: { header: "TOTAL", value: ({ TotalCount = 0 }) => String(TotalCount) },
  Type: { header: "TYPE", value: ({ type }) => type },
};
