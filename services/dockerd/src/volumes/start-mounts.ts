import fs from "node:fs";
import path from "node:path";
import { RootedTree } from "@longshore/archive";
import { EngineError, errorCode } from "@longshore/errors";
import type { Mount } from "@longshore/oci";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  moveMount,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  openTree,
} from "@longshore/syscalls";
import { SNAPSHOTTER } from "../containerd/client.ts";
import type { ContainerRecord } from "../containers/container.ts";
import type { Engine } from "../engine.ts";
import { layersOf } from "../spec/layered-root.ts";
import type { UserNamespace } from "../userns/user-namespaces.ts";
import { bytesOf, noSubpath } from "./copy-up.ts";
import { leadsElsewhere, showOwners, withLayers } from "./mapped-owners.ts";
import { MergedView } from "./merged-view.ts";
import { daemonRoots, type MountPoint, rootBeside } from "./mount-point.ts";
import { mountOf, mountsBelow, unmountVolume } from "./mount-volume.ts";
import { imageViewKey, imageViewOwner } from "./plan-mounts.ts";

/** A container's mounts for its specification, and what is mounted on the host until the runtime has them. */
export interface StartMounts extends Disposable {
  mounts: Mount[];
}

/**
 * Have the sources of a container's mounts ready: directories that are missing made, volumes mounted, parts of volumes and images
 * at a path of their own, which no link can lead elsewhere.
 *
 * @param shown files of images and volumes are shown with their owners mapped as there; undefined: as they are
 * @throws EngineError in Docker's words where a source isn't there
 */
export async function startMounts(
  engine: Engine,
  record: ContainerRecord,
  shown?: UserNamespace | undefined,
): Promise<StartMounts> {
  checkSources(record);
  const { id, mounts } = record;
  using undo = new DisposableStack();
  const made: Mount[] = [];
  const directory = path.join(stagesDir(engine), id);
  // Comes last: what is mounted below goes first.
  undo.defer(() => {
    if (fs.existsSync(directory)) fs.rmdirSync(directory);
  });
  for (const [index, point] of mounts.entries()) {
    const stage = path.join(directory, String(index));
    made.push(toOci(point, await sourceOf(engine, id, point, { stage, undo, shown })));
  }
  const taken = undo.move();
  return { mounts: made, [Symbol.dispose]: () => taken.dispose() };
}

interface Staging {
  /** Where on the host something may be mounted. */
  stage: string;
  undo: DisposableStack;
  shown: UserNamespace | undefined;
}

async function sourceOf(
  engine: Engine,
  containerId: string,
  point: MountPoint,
  staging: Staging,
): Promise<string> {
  switch (point.type) {
    case "tmpfs":
      return "tmpfs";
    case "bind":
      if (!fs.existsSync(point.source)) makeSource(point);
      // Beside the daemon it was not the user who asked for it: what can't follow is private then.
      if (point.propagation !== "rslave" || rootBeside(point.source, daemonRoots(engine)) === undefined)
        checkPropagation(point);
      return point.source;
    case "volume": {
      const whole = await engine.volumes.mount(point.name, containerId);
      // Files of the host's that a volume leads to, or of another machine's, have their own owners, as with any bind.
      const { shown } = staging;
      const isOwn = !leadsElsewhere(engine.volumes.find(point.name).options);
      if (point.subpath === "" && !(shown && isOwn)) return whole;
      return stagePart(whole, point.subpath, isOwn ? staging : { ...staging, shown: undefined });
    }
    case "image": {
      const { mounts } = await engine.containerd.snapshots.mounts({
        snapshotter: SNAPSHOTTER,
        key: point.source,
      });
      const whole = stageMount(staging, (stage) => {
        makePlace(stage, true);
        withLayers(layersOf(mounts), { place: `${stage}.layers`, shown: staging.shown }, (layers) => {
          using view = new MergedView(layers);
          moveMount(view.fd, AT_FDCWD, stage);
        });
      });
      const part = { ...staging, stage: `${staging.stage}.part`, shown: undefined };
      return point.subpath === "" ? whole : stagePart(whole, point.subpath, part);
    }
  }
}

/** @throws EngineError `invalid_argument` in Docker's words for a bind whose source has gone and isn't to be made anew */
export function checkSources({ mounts }: ContainerRecord): void {
  for (const { type, source, makeSource: isMade } of mounts) {
    if (type !== "bind" || isMade || fs.existsSync(source)) continue;
    throw new EngineError(
      "invalid_argument",
      `invalid mount config for type "bind": bind source path does not exist: ${source}`,
    );
  }
}

function makeSource({ source }: MountPoint): void {
  try {
    fs.mkdirSync(source, { recursive: true, mode: 0o755 });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError("internal", `error while creating mount source path '${source}': ${why}`, {
      cause: error,
    });
  }
}

/** What the host's mount must be for a propagation to mean something. @throws EngineError in Docker's words */
function checkPropagation({ source, propagation }: MountPoint): void {
  const kind = propagation.replace(/^r/, "");
  if (kind !== "shared" && kind !== "slave") return;
  const { at, fields } = mountOf(source);
  if (
    fields.some((field) => field.startsWith("shared:") || (kind === "slave" && field.startsWith("master:")))
  )
    return;
  const wanted = kind === "shared" ? "a shared mount" : "a shared or slave mount";
  throw new EngineError("internal", `path ${source} is mounted on ${at} but it is not ${wanted}`);
}

/** Mount what is at a path below a directory; links lead nowhere out of it, and what is found is what gets mounted. */
function stagePart(whole: string, subpath: string, staging: Staging): string {
  using tree = new RootedTree(whole);
  const found =
    subpath === "" ? fs.openSync(whole, O_PATH | O_DIRECTORY | O_CLOEXEC) : tree.find(bytesOf(subpath));
  if (found === undefined) throw noSubpath(subpath);
  try {
    const part = openTree(found, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    try {
      if (staging.shown) showOwners(part, staging.shown, whole);
      return stageMount(staging, (stage) => {
        makePlace(stage, fs.fstatSync(part).isDirectory());
        moveMount(part, AT_FDCWD, stage);
      });
    } finally {
      fs.closeSync(part);
    }
  } finally {
    fs.closeSync(found);
  }
}

function stageMount({ stage, undo }: Staging, mount: (stage: string) => void): string {
  undo.defer(() => removeStage(stage));
  mount(stage);
  return stage;
}

function makePlace(stage: string, isDirectory: boolean): void {
  fs.mkdirSync(path.dirname(stage), { recursive: true, mode: 0o700 });
  if (isDirectory) fs.mkdirSync(stage, { mode: 0o700 });
  else fs.writeFileSync(stage, "", { mode: 0o600 });
}

/** Never with what is mounted there. */
function removeStage(stage: string): void {
  for (const point of mountsBelow(stage)) unmountVolume(point);
  if (!fs.existsSync(stage)) return;
  if (fs.lstatSync(stage).isDirectory()) fs.rmdirSync(stage);
  else fs.unlinkSync(stage);
}

function toOci(point: MountPoint, source: string): Mount {
  const { type, destination, rw, nonRecursive, readOnlyBelow } = point;
  if (type === "tmpfs") {
    const options = ["noexec", "nosuid", "nodev", ...point.options];
    return { destination, type: "tmpfs", source, options };
  }
  const propagation = point.propagation || "rprivate";
  const readOnly = rw ? [] : readOnlyBelow === "no" ? ["ro"] : ["ro", "rro"];
  return {
    destination,
    type: "bind",
    source,
    options: [nonRecursive ? "bind" : "rbind", propagation, ...readOnly],
  };
}

/** Where something may be mounted on the host for a while. */
export function stagesDir(engine: Engine): string {
  return path.join(engine.flags.execRoot, "mounts");
}

/** Take away what a daemon that was killed had mounted for a start, and the snapshots of containers that didn't come to be. */
export async function removeStages(engine: Engine): Promise<void> {
  const directory = stagesDir(engine);
  for (const point of mountsBelow(directory)) unmountVolume(point);
  // Should one not have gone, what is in it stays.
  if (mountsBelow(directory).length === 0) fs.rmSync(directory, { recursive: true, force: true });
  const { snapshots } = engine.containerd;
  for await (const { info } of snapshots.list({ snapshotter: SNAPSHOTTER, filters: [] })) {
    for (const { name } of info) {
      const owner = imageViewOwner(name);
      if (owner === undefined || engine.containers.get(owner)) continue;
      await removeView(engine, name);
    }
  }
}

/** Remove what a container's mounts of images are made of. */
export async function removeImageViews(engine: Engine, { id, mounts }: ContainerRecord): Promise<void> {
  const count = mounts.filter(({ type }) => type === "image").length;
  for (let index = 0; index < count; index++) await removeView(engine, imageViewKey(id, index));
}

async function removeView({ containerd }: Engine, key: string): Promise<void> {
  try {
    await containerd.snapshots.remove({ snapshotter: SNAPSHOTTER, key });
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
  }
}
