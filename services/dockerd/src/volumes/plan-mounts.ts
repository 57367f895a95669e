import path from "node:path";
import type { Mount } from "@longshore/api/containerd/types/mount";
import { EngineError } from "@longshore/errors";
import type { Change } from "@longshore/store";
import { SNAPSHOTTER } from "../containerd/client.ts";
import type { ContainerConfig, HostConfig } from "../containers/container-config.ts";
import type { Engine } from "../engine.ts";
import { layersOf } from "../spec/layered-root.ts";
import { copyUp } from "./copy-up.ts";
import { MergedView } from "./merged-view.ts";
import { daemonRoots, type MountPoint, plainMount, rootBeside } from "./mount-point.ts";
import {
  type AskedMount,
  clean,
  DEFAULT_PROPAGATION,
  parseBindSpec,
  parseMountRequest,
  parseVolumesFrom,
} from "./parse-mounts.ts";
import type { VolumeRecord } from "./volumes.ts";

/**
 * The mounts of a container that is being made. Its volumes are kept for it until this is disposed; new ones without a name go then,
 * unless {@link PlannedMounts.made} was called.
 */
export class PlannedMounts implements AsyncDisposable {
  readonly points: MountPoint[] = [];
  private readonly engine: Engine;
  private readonly containerId: string;
  private readonly anonymous: { record: VolumeRecord; change: Change }[] = [];
  private readonly views: string[] = [];
  private isMade = false;

  constructor(engine: Engine, containerId: string) {
    this.engine = engine;
    this.containerId = containerId;
  }

  /** What belongs into the commit that makes the container. */
  get changes(): Change[] {
    return this.anonymous.map(({ change }) => change);
  }

  /** The container is there. */
  made(): void {
    this.isMade = true;
    for (const { record } of this.anonymous) this.engine.volumes.wanted(record);
  }

  /** Mount a volume where a point says; it is made if it isn't there. */
  async addVolume(point: MountPoint, wanted: AskedMount["volume"]): Promise<void> {
    const { volumes } = this.engine;
    const asked = { ...wanted, name: point.name };
    let record: VolumeRecord;
    if (point.name === "") {
      const prepared = volumes.prepare(asked);
      this.anonymous.push(prepared);
      record = prepared.record;
    } else {
      // Before it is there, so that nobody removes it in between.
      volumes.hold(this.containerId, point.name);
      record = await volumes.create(asked);
    }
    volumes.hold(this.containerId, record.name);
    const { name, driver } = record;
    this.points.push({ ...point, name, driver, source: volumes.mountpoint(name) });
  }

  /** Mount an image's files. */
  async addImage(point: MountPoint): Promise<void> {
    const { image } = await this.engine.images.find(point.name);
    const [parent] = image.chainIds.slice(-1);
    if (parent === undefined)
      throw new EngineError("invalid_argument", `image ${point.name} has no files to mount`);
    await this.engine.unpacker.ensure(image);
    const key = imageViewKey(this.containerId, this.views.length);
    await this.engine.containerd.snapshots.view({
      snapshotter: SNAPSHOTTER,
      key,
      parent,
      labels: { "containerd.io/gc.root": new Date().toISOString() },
    });
    this.views.push(key);
    this.points.push({ ...point, source: key });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { volumes, containerd } = this.engine;
    volumes.letGo(this.containerId);
    if (this.isMade) return;
    for (const { record } of this.anonymous) await volumes.forget(record.name);
    for (const key of this.views) await containerd.snapshots.remove({ snapshotter: SNAPSHOTTER, key });
  }
}

/** Name of the snapshot by which a container has an image mounted. */
export function imageViewKey(containerId: string, index: number): string {
  return `${containerId}-image-${index}`;
}

/** The container that such a snapshot is of. */
export function imageViewOwner(key: string): string | undefined {
  return /^([a-f0-9]{64})-image-[0-9]+$/.exec(key)?.[1];
}

export interface MountsRequest {
  id: string;
  hostConfig: HostConfig;
  /** The user's own places for volumes without names. */
  places: readonly string[];
  /** Completed from the image. */
  config: Pick<ContainerConfig, "Volumes">;
  /** Binds that are read-only leave what is mounted below them writable, unless they say otherwise. */
  shallowReadOnly: boolean;
}

/** What is wrong with a request's mounts by their words alone. @throws EngineError `invalid_argument` */
export function checkMounts(host: HostConfig): void {
  askedMounts(host);
  for (const spec of host.VolumesFrom) parseVolumesFrom(spec);
  for (const Target of Object.keys(host.Tmpfs))
    parseMountRequest({ Type: "tmpfs", Target }, { sourceMustExist: false });
}

/**
 * The mounts of a new container, with its volumes made: those of other containers first, over them what was asked for, and the image's
 * volumes where nothing else is mounted.
 *
 * @throws EngineError `invalid_argument` for what makes no sense, `not_found` for a container or image
 */
export async function planMounts(engine: Engine, request: MountsRequest): Promise<PlannedMounts> {
  const { id, hostConfig, config, places, shallowReadOnly } = request;
  for (const Target of places) parseMountRequest({ Type: "volume", Target }, { sourceMustExist: false });
  const planned = new PlannedMounts(engine, id);
  try {
    const asked = askedMounts(hostConfig);
    const taken = new Set([
      ...asked.map(({ point }) => point.destination),
      ...Object.keys(hostConfig.Tmpfs).map(clean),
    ]);
    const inherited = new Map<string, MountPoint>();
    for (const point of hostConfig.VolumesFrom.flatMap((spec) => mountsFrom(engine, spec))) {
      if (!taken.has(point.destination)) inherited.set(point.destination, point);
    }
    for (const point of inherited.values()) {
      if (point.type === "volume") await planned.addVolume(point, VOLUME_OF_OTHERS);
      else if (point.type === "image") await planned.addImage(point);
      else planned.points.push(point);
    }
    for (const { point: own, volume } of asked) {
      const point = besideDaemon(own, daemonRoots(engine));
      if (point.type === "volume") await planned.addVolume(withUsualMode(point), volume);
      else if (point.type === "image") await planned.addImage(point);
      else planned.points.push(shallowReadOnly ? withWritableBelow(point) : point);
    }
    const own = { driver: hostConfig.VolumeDriver, labels: null, options: null };
    for (const destination of config.Volumes.map((place) => path.join("/", clean(place)))) {
      if (taken.has(destination) || inherited.has(destination)) continue;
      taken.add(destination);
      await planned.addVolume(
        plainMount({ type: "volume", destination, anonymous: true, copyUp: true }),
        own,
      );
    }
    return planned;
  } catch (error) {
    await planned[Symbol.asyncDispose]();
    // 404 would say that the image isn't there, and clients would go and pull it.
    if (error instanceof EngineError && error.code === "not_found" && /volume plugin/.test(error.message))
      throw new EngineError("invalid_argument", error.message, { cause: error });
    throw error;
  }
}

const VOLUME_OF_OTHERS: AskedMount["volume"] = { driver: "", labels: null, options: null };

/** Docker's default for volumes that were asked for; it matters to SELinux only. */
function withUsualMode(point: MountPoint): MountPoint {
  return point.mode === "" ? { ...point, mode: "z" } : point;
}

/**
 * A bind that has the daemon's own directories in it, or is in them: what is unmounted there has to go from the container, too, or it
 * would be in use for as long as that runs.
 * @throws EngineError `invalid_argument` in Docker's words where another propagation is asked for
 */
function besideDaemon(point: MountPoint, roots: readonly string[]): MountPoint {
  if (point.type !== "bind" || point.propagation === "rslave" || point.propagation === "rshared")
    return point;
  const { source } = point;
  const root = rootBeside(source, roots);
  if (root === undefined) return { ...point, propagation: point.propagation || DEFAULT_PROPAGATION };
  if (point.propagation === "") return { ...point, propagation: "rslave" };
  throw new EngineError(
    "invalid_argument",
    `invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within the daemon root, daemon root: ${JSON.stringify(root)}, bind mount source: ${JSON.stringify(source)}, propagation: ${JSON.stringify(point.propagation)}`,
  );
}

function withWritableBelow(point: MountPoint): MountPoint {
  return point.type === "bind" && point.readOnlyBelow === "try" ? { ...point, readOnlyBelow: "no" } : point;
}

/** What `-v` and `--mount` ask for. @throws EngineError `invalid_argument`, also for two at one place */
function askedMounts(host: HostConfig): AskedMount[] {
  const asked = [
    ...host.Binds.map((spec) => parseBindSpec(spec, host.VolumeDriver)),
    ...host.Mounts.map((mount) => parseMountRequest(mount, { sourceMustExist: true })),
  ];
  const seen = new Set(Object.keys(host.Tmpfs).map(clean));
  for (const { point } of asked) {
    if (seen.has(point.destination))
      throw new EngineError("invalid_argument", `Duplicate mount point: ${point.destination}`);
    seen.add(point.destination);
  }
  return asked;
}

/** What another container has mounted, for one that shall have it too. */
function mountsFrom({ containers }: Engine, spec: string): MountPoint[] {
  const { container, rw } = parseVolumesFrom(spec);
  const { mounts } = containers.findNamed(container).record;
  return mounts.map((point) => ({ ...point, mode: "", rw: point.rw && rw, copyUp: false }));
}

/**
 * Fill the container's empty volumes with what its image has at their places.
 * @param rootfs of the container, which has nothing of its own yet
 */
export async function fillVolumes(
  engine: Engine,
  points: readonly MountPoint[],
  rootfs: readonly Mount[],
): Promise<void> {
  const toFill = points.filter(({ type, copyUp: wanted }) => type === "volume" && wanted);
  if (toFill.length === 0) return;
  using view = new MergedView(imageLayers(rootfs));
  for (const { name, destination, subpath } of toFill) {
    const maker = `copy-up ${crypto.randomUUID()}`;
    await engine.volumes.mount(name, maker);
    try {
      await copyUp(engine.volumes, name, { image: view.path, destination, subpath });
    } finally {
      await engine.volumes.unmount(name, maker);
    }
  }
}

function imageLayers(rootfs: readonly Mount[]): string[] {
  const layers = layersOf(rootfs);
  return rootfs[0]?.options.some((option) => option.startsWith("upperdir=")) ? layers.slice(1) : layers;
}
