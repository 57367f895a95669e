import { SNAPSHOTTER } from "../containerd/client.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import type { Filters } from "../http/filters.ts";
import { parseTime } from "../http/time.ts";
import type { Image, NamedImage } from "./image.ts";
import { repoNames } from "./names.ts";

export const IMAGE_FILTERS = ["before", "dangling", "label", "reference", "since", "until"] as const;

/** Images as `GET /images/json`, newest first. */
export async function listImages(engine: Engine, filters: Filters, call: ApiCall): Promise<object[]> {
  const dangling = filters.boolean("dangling");
  const before = await createdOf(engine, filters.get("before")[0]);
  const since = await createdOf(engine, filters.get("since")[0]);
  const [until] = filters.get("until").map(parseTime);
  const chosen = (await engine.images.list()).filter((named) => {
    const { image } = named;
    const created = createdSeconds(image);
    const { tags } = repoNames(named);
    return (
      (dangling === undefined || dangling === (tags.length === 0)) &&
      (before === undefined || created < before) &&
      (since === undefined || created > since) &&
      (until === undefined || BigInt(created) * 1_000_000_000n < until) &&
      filters.match("reference", (pattern) => tags.some((tag) => matchesReference(tag, pattern))) &&
      filters.matchLabels(image.config.config?.Labels ?? {})
    );
  });
  const shown = await Promise.all(chosen.map((named) => summary(engine, named, call)));
  return shown.sort((a, b) => b.Created - a.Created);
}

async function summary(engine: Engine, named: NamedImage, call: ApiCall) {
  const { image } = named;
  const { tags, digests } = repoNames(named);
  const size = await imageSize(engine, image);
  const old = !call.atLeast("1.43");
  return {
    Id: image.id,
    ParentId: "",
    RepoTags: tags.length === 0 && old ? ["<none>:<none>"] : tags,
    RepoDigests: digests.length === 0 && old ? ["<none>@<none>"] : digests,
    Created: createdSeconds(image),
    Size: size,
    SharedSize: -1,
    ...(!call.atLeast("1.44") && { VirtualSize: size }),
    Labels: image.config.config?.Labels ?? null,
    Containers: -1,
  };
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

async function createdOf(engine: Engine, name: string | undefined): Promise<number | undefined> {
  return name === undefined ? undefined : createdSeconds((await engine.images.find(name)).image);
}

function createdSeconds({ config }: Image): number {
  const ms = Date.parse(config.created ?? "");
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000);
}

/** `busybox`, `busybox:1.*`, `*box`: a pattern without a tag fits every tag. */
export function matchesReference(tag: string, pattern: string): boolean {
  const glob = (text: string) =>
    new RegExp(
      `^${text
        .replace(/[.+^${}()|[\]\\]/g, "\\$&")
        .replaceAll("*", "[^/]*")
        .replaceAll("?", "[^/]")}$`,
    );
  const repository = tag.slice(0, tag.lastIndexOf(":"));
  return glob(pattern).test(tag) || glob(pattern).test(repository);
}
