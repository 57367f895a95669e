import { EngineError, errorCode } from "@longshore/errors";
import { SNAPSHOTTER } from "../containerd/client.ts";
import { listContainers } from "../containers/list-containers.ts";
import type { Engine } from "../engine.ts";
import type { Asked } from "../http/api-version.ts";
import type { ApiCall } from "../http/call.ts";
import { Filters } from "../http/filters.ts";
import { listImages } from "../images/list-images.ts";
import { type UsedVolume, volumeUsage } from "../volumes/list-volumes.ts";

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
    wants("image")
      ? (listImages(engine, Filters.none, call, { usage: true }) as Promise<SizedImage[]>)
      : undefined,
    wants("container") ? sizedContainers(engine) : undefined,
    wants("image") ? layersSize(engine) : 0,
    wants("volume") ? volumeUsage(engine) : undefined,
  ]);
  const isOfNow = call.atLeast("1.52");
  const old = {
    ...(layers > 0 && { LayersSize: layers }),
    ...{ Images: images, Containers: containers, Volumes: volumes },
    ...(wants("build-cache") && { BuildCache: [] }),
    ...(!call.atLeast("1.44") && { BuilderSize: 0 }),
  };
  return {
    // Who asks for details knows where they are now.
    ...(!(isOfNow && call.flag("verbose")) && old),
    ...(isOfNow && {
      ImageUsage: images && imageTotals(images, layers),
      ContainerUsage: containers && containerTotals(containers),
      VolumeUsage: volumes && volumeTotals(volumes),
      ...(wants("build-cache") && { BuildCacheUsage: {} }),
    }),
  };
}

interface SizedImage {
  Size: number;
  SharedSize: number;
  Containers: number;
}

interface SizedContainer {
  State: string;
  SizeRw?: number;
}

/** Of things of one kind. What is zero, or no thing at all, is left out. */
interface Totals<T> {
  ActiveCount: number;
  TotalCount: number;
  TotalSize: number;
  /** Bytes that would be free without those that aren't active. */
  Reclaimable: number;
  Items: readonly T[];
}

function withoutZeros<T>({ Items, ...numbers }: Totals<T>): Partial<Totals<T>> {
  const counted = Object.entries(numbers).filter(([, value]) => value !== 0);
  return { ...Object.fromEntries(counted), ...(Items.length > 0 && { Items }) };
}

const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);

function imageTotals(images: readonly SizedImage[], layers: number) {
  const unused = images.filter(({ Containers }) => Containers === 0);
  return withoutZeros({
    ActiveCount: images.length - unused.length,
    TotalCount: images.length,
    TotalSize: layers,
    Reclaimable: sum(unused.map(({ Size, SharedSize }) => Size - SharedSize)),
    Items: images,
  });
}

function containerTotals(containers: readonly SizedContainer[]) {
  const isActive = ({ State }: SizedContainer) => ["running", "paused", "restarting"].includes(State);
  return totals(containers, isActive, ({ SizeRw = 0 }) => SizeRw);
}

function volumeTotals(volumes: readonly UsedVolume[]) {
  return totals(
    volumes,
    ({ UsageData }) => UsageData.RefCount !== 0,
    ({ UsageData }) => UsageData.Size,
  );
}

/** Of things of which each takes room of its own. */
function totals<T>(items: readonly T[], isActive: (one: T) => boolean, sizeOf: (one: T) => number) {
  const unused = items.filter((one) => !isActive(one));
  return withoutZeros({
    ActiveCount: items.length - unused.length,
    TotalCount: items.length,
    TotalSize: sum(items.map(sizeOf)),
    Reclaimable: sum(unused.map(sizeOf)),
    Items: items,
  });
}

/** Clients of all versions are shown the same of a container here. */
const EVERYONE: Asked = { atLeast: () => true };

function sizedContainers(engine: Engine): Promise<SizedContainer[]> {
  const all = { all: true, limit: undefined, filters: Filters.none, size: true };
  return listContainers(engine, { ...all, manifests: false, asked: EVERYONE }) as Promise<SizedContainer[]>;
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
