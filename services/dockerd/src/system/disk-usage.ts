import { EngineError, errorCode } from "@longshore/errors";
import { SNAPSHOTTER } from "../containerd/client.ts";
import { listContainers } from "../containers/list-containers.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import { listImages } from "../images/list-images.ts";
import { volumeUsage } from "../volumes/list-volumes.ts";

const TYPES = ["container", "image", "volume", "build-cache"] as const;

/** What images, containers and volumes take up, as `GET /system/df`. */
export async function diskUsage(engine: Engine, call: ApiCall): Promise<object> {
  const asked = call.atLeast("1.42") ? call.query.getAll("type") : [];
  for (const type of asked) {
    if (!(TYPES as readonly string[]).includes(type))
      throw new EngineError("invalid_argument", `unknown object type: ${type}`);
  }
  const wants = (type: (typeof TYPES)[number]) => asked.length === 0 || asked.includes(type);
  const [images, containers, layers, volumes] = await Promise.all([
    wants("image") ? listImages(engine, Filters.none, call, { usage: true }) : null,
    wants("container")
      ? listContainers(engine, {
          ...{ all: true, limit: undefined, filters: Filters.none, size: true },
          ...{ manifests: false, asked: call },
        })
      : null,
    wants("image") ? layersSize(engine) : 0,
    wants("volume") ? volumeUsage(engine) : null,
  ]);
  return {
    LayersSize: layers,
    Images: images,
    Containers: containers,
    Volumes: volumes,
    BuildCache: wants("build-cache") ? [] : null,
    ...(!call.atLeast("1.44") && { BuilderSize: 0 }),
  };
}

/** Bytes of all layers that images are made of, each counted once. */
async function layersSize(engine: Engine): Promise<number> {
  const keys = new Set((await engine.images.list()).flatMap(({ image }) => image.chainIds));
  const sizes = await Promise.all([...keys].map((key) => snapshotSize(engine, key)));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function snapshotSize(engine: Engine, key: string): Promise<number> {
  try {
    return Number((await engine.containerd.snapshots.usage({ snapshotter: SNAPSHOTTER, key })).size);
  } catch (error) {
    if (errorCode(error) === "not_found") return 0; // not unpacked
    throw error;
  }
}
