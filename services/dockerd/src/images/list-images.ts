import os from "node:os";
import { EngineError } from "@longshore/errors";
import { SNAPSHOTTER } from "../containerd/client.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import type { Filters } from "../http/filters.ts";
import { parseTime } from "../http/time.ts";
import { ENGINE_LABEL, isMeant } from "../state/fleet.ts";
import { fleetImages } from "./fleet-images.ts";
import type { Image, NamedImage } from "./image.ts";
import { manifestSummaries } from "./manifest-summary.ts";
import { descriptorJson } from "./manifests.ts";
import { type RepoNames, repoNames } from "./names.ts";

export const IMAGE_FILTERS = [
  "before",
  "dangling",
  "engine",
  "label",
  "label!",
  "reference",
  "since",
  "until",
] as const;

export interface ListImagesOptions {
  /** Say as well what is shared with other images. */
  sharedSize?: boolean;
  /** Say as well how many containers use each. */
  usage?: boolean;
  /** Say as well what manifests each stands for. */
  manifests?: boolean;
  /** Of these, say as well where they come from. */
  identity?: boolean;
}

/** Images as `GET /images/json`, newest first. */
export async function listImages(
  engine: Engine,
  filters: Filters,
  call: ApiCall,
  { sharedSize = false, usage = false, manifests = false, identity = false }: ListImagesOptions = {},
): Promise<object[]> {
  const dangling = filters.boolean("dangling");
  // Of several all hold.
  const before = await createdOf(engine, filters.get("before"));
  const since = await createdOf(engine, filters.get("since"));
  const untils = filters.get("until").map(parseUntil);
  const all = await engine.images.list();
  const fits = (created: bigint, { tags, digests }: RepoNames, labels: Record<string, string>) =>
    // An image that has a digest only is one that dangles, and one that doesn't.
    (dangling !== true || tags.length === 0) &&
    (dangling !== false || tags.length + digests.length > 0) &&
    before.every((other) => created < other) &&
    since.every((other) => created > other) &&
    untils.every((until) => created < until) &&
    (!filters.has("reference") || tags.length + digests.length > 0) &&
    filters.matchLabels(labels) &&
    filters.lacksLabels(labels);
  const engines = filters.get("engine");
  const isOwn = engines.length === 0 || isMeant(engine.id, engines);
  const chosen = all
    .map((named) => withNames(named, filters))
    .filter((named) => {
      const { image } = named;
      const labels = image.config.config?.Labels ?? {};
      return isOwn && fits(createdNano(image), repoNames(named), labels);
    });
  const users = sharedSize || usage ? layerUsers(all) : undefined;
  const engineName = engines.length > 0 ? os.hostname() : undefined;
  const shown = await Promise.all(
    chosen.map(async (named) => ({
      ...(await summary(engine, named, { call, usage, engineName })),
      ...(users && { SharedSize: await sharedBytes(engine, named.image, users) }),
      ...((usage || call.atLeast("1.51")) && { Containers: containersOf(engine, named.image) }),
      ...(manifests && { Manifests: await manifestSummariesOf(engine, named, identity) }),
    })),
  );
  const theirs = (await fleetImages(engine, engines)).filter(
    ({ Created, RepoTags, RepoDigests, Labels }) =>
      fits(BigInt(Created) * 1_000_000_000n, { tags: RepoTags, digests: RepoDigests }, Labels) &&
      filters.match("reference", (pattern) => RepoTags.some((tag) => matchesReference(tag, pattern))),
  );
  return [...shown, ...theirs].sort((a, b) => b.Created - a.Created);
}

function parseUntil(text: string): bigint {
  try {
    return parseTime(text);
  } catch (cause) {
    const why = `failed to parse value as time or duration: ${JSON.stringify(text)}`;
    throw new EngineError("invalid_argument", `invalid value for 'until' filter: ${why}`, { cause });
  }
}

/** Of an image that is looked for by its names, only those that are meant. */
function withNames(named: NamedImage, filters: Filters): NamedImage {
  if (!filters.has("reference")) return named;
  const names = named.names.filter((name) => {
    const { tags, digests } = repoNames({ ...named, names: [name] });
    const shown = tags.length > 0 ? tags : digests;
    return filters.match("reference", (pattern) => shown.some((one) => matchesReference(one, pattern)));
  });
  return { ...named, names };
}

interface SummaryOptions {
  call: ApiCall;
  /** Whether it is about room on the disk: clients of all versions are told of the descriptor then. */
  usage: boolean;
  /** Where it is, when engines were asked for. */
  engineName: string | undefined;
}

async function summary(engine: Engine, named: NamedImage, { call, usage, engineName }: SummaryOptions) {
  const {
    image,
    targets: [target],
  } = named;
  const { tags, digests } = repoNames(named);
  const size = await imageSize(engine, image);
  const isNameless = tags.length + digests.length === 0 && !call.atLeast("1.43");
  return {
    Id: image.id,
    ParentId: "",
    RepoTags: isNameless ? ["<none>:<none>"] : tags,
    RepoDigests: isNameless ? ["<none>@<none>"] : digests,
    Created: createdSeconds(image),
    Size: size,
    SharedSize: -1,
    ...(!call.atLeast("1.44") && { VirtualSize: size }),
    Labels:
      engineName === undefined
        ? (image.config.config?.Labels ?? null)
        : { ...image.config.config?.Labels, [ENGINE_LABEL]: engineName },
    Containers: -1,
    ...(target && (usage || call.atLeast("1.48")) && { Descriptor: descriptorJson(target) }),
  };
}

async function manifestSummariesOf(
  engine: Engine,
  { targets: [target] }: NamedImage,
  identity: boolean,
): Promise<object[]> {
  return target ? manifestSummaries(engine, target, { identity }) : [];
}

/** How many images have each layer, by its snapshot's name. */
function layerUsers(all: readonly NamedImage[]): Map<string, number> {
  const users = new Map<string, number>();
  for (const { image } of all) for (const key of image.chainIds) users.set(key, (users.get(key) ?? 0) + 1);
  return users;
}

async function sharedBytes(
  engine: Engine,
  image: Image,
  users: ReadonlyMap<string, number>,
): Promise<number> {
  const shared = image.chainIds.filter((key) => (users.get(key) ?? 0) > 1);
  return imageSize(engine, { ...image, chainIds: shared, contentBytes: 0 });
}

function containersOf(engine: Engine, { id }: Image): number {
  return engine.containers.list().filter(({ record }) => record.imageId === id).length;
}

const sizes = new Map<string, number>();

/** Bytes of the unpacked layers; of the blobs while it isn't unpacked. */
export async function imageSize(engine: Engine, image: Image): Promise<number> {
  const layers = await Promise.all(
    image.chainIds.map(async (key) => {
      const known = sizes.get(key);
      if (known !== undefined) return known;
      try {
        const size = Number(
          (await engine.containerd.snapshots.usage({ snapshotter: SNAPSHOTTER, key })).size,
        );
        sizes.set(key, size); // a committed snapshot never changes
        return size;
      } catch {
        return undefined;
      }
    }),
  );
  if (layers.includes(undefined)) return image.contentBytes;
  return layers.reduce<number>((sum, size) => sum + (size ?? 0), 0);
}

async function createdOf(engine: Engine, names: readonly string[]): Promise<bigint[]> {
  return Promise.all(names.map(async (name) => createdNano((await engine.images.find(name)).image)));
}

function createdNano({ config }: Image): bigint {
  try {
    return parseTime(config.created ?? "");
  } catch {
    return 0n; // it doesn't say
  }
}

function createdSeconds({ config }: Image): number {
  const ms = Date.parse(config.created ?? "");
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000);
}

/**
 * `busybox`, `busybox:1.*`, `*box`, `box:[0-9]`: a pattern without a tag fits every tag, and names that have a digest.
 * @throws EngineError `invalid_argument`, in Docker's words, for what is no pattern
 */
export function matchesReference(name: string, pattern: string): boolean {
  const glob = globOf(pattern);
  const repository = name.replace(/@.*|:[^:/]*$/, "");
  return glob.test(name) || glob.test(repository);
}

/** A pattern of Go's `path.Match`: `*` and `?` stop at slashes, sets are in brackets, and a backslash takes what follows as it is. */
function globOf(pattern: string): RegExp {
  const wrong = () => new EngineError("invalid_argument", "syntax error in pattern");
  const parts = pattern.match(/\\.|\[\^?(?:\\.|[^\]\\])+\]|[^[\]\\]/gsu) ?? [];
  if (parts.join("") !== pattern) throw wrong();
  const source = parts.map((part) => {
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    if (part.startsWith("[")) return part.replaceAll("&&", "&");
    return part.replace(/^\\/, "").replace(/[.+^${}()|*?[\]\\/]/g, "\\$&");
  });
  try {
    return new RegExp(`^${source.join("")}$`);
  } catch {
    throw wrong();
  }
}
