import type { ContainerRecord } from "../containers/container.ts";
import type { Engine } from "../engine.ts";

/** What a user has mounted in a container, as it is kept with the container. */
export interface MountPoint {
  type: "bind" | "volume" | "tmpfs" | "image";
  /** Of a volume; of an image as the user named it. */
  name: string;
  /** Path on the host; of an image the key of its snapshot. */
  source: string;
  destination: string;
  driver: string;
  /** The words after the second colon of `-v`. */
  mode: string;
  rw: boolean;
  propagation: string;
  /** A volume without a name of the user's: it goes with the container, where that is asked for. */
  anonymous: boolean;
  /** Fill an empty volume with what the image has there. */
  copyUp: boolean;
  /** Below the volume's or image's root. */
  subpath: string;
  /** Make a missing source, as `-v` does. */
  makeSource: boolean;
  /** Only the mount itself, without what is mounted below it. */
  nonRecursive: boolean;
  /** What a read-only mount makes of the mounts below: also read-only, where the kernel can; not; or it is an error. */
  readOnlyBelow: "try" | "no" | "force";
  /** Options of a tmpfs. */
  options: string[];
}

/** A mount with nothing special about it. */
export function plainMount(
  point: Pick<MountPoint, "type" | "destination"> & Partial<MountPoint>,
): MountPoint {
  return {
    name: "",
    source: "",
    driver: "",
    mode: "",
    rw: true,
    propagation: "",
    anonymous: false,
    copyUp: false,
    subpath: "",
    makeSource: false,
    nonRecursive: false,
    readOnlyBelow: "try",
    options: [],
    ...point,
  };
}

/** A container's mounts as the API lists them. */
export function showMounts({ mounts }: ContainerRecord): object[] {
  return mounts.map((point) => ({
    Type: point.type,
    ...(point.name !== "" && { Name: point.name }),
    Source: point.source,
    Destination: point.destination,
    ...(point.driver !== "" && { Driver: point.driver }),
    Mode: point.mode,
    RW: point.rw,
    Propagation: point.propagation,
  }));
}

/** Whether a container has the volume or the path mounted, as the filter `volume` asks. */
export function hasMount({ mounts }: ContainerRecord, wanted: string): boolean {
  return mounts.some(({ type, name, source, destination }) => {
    const what = type === "bind" ? source : name;
    return what === wanted || destination === wanted;
  });
}

/** Names of the volumes that a container has mounted. */
export function volumesOf({ mounts }: Pick<ContainerRecord, "mounts">): string[] {
  return [...new Set(mounts.flatMap(({ type, name }) => (type === "volume" ? [name] : [])))];
}

/** How mounts of the host and of a container's root see each other's, as its binds need it. */
export function rootPropagation({
  mounts,
}: Pick<ContainerRecord, "mounts">): "shared" | "rslave" | undefined {
  const wanted = mounts.map(({ propagation }) => propagation.replace(/^r/, ""));
  if (wanted.includes("shared")) return "shared";
  return wanted.includes("slave") ? "rslave" : undefined;
}

/** The directories of this daemon in which it mounts things. */
export function daemonRoots({ flags }: Pick<Engine, "flags">): string[] {
  return [flags.dataRoot, flags.execRoot];
}

/** Which of the daemon's directories a bind's source has in it, or is in. */
export function rootBeside(source: string, roots: readonly string[]): string | undefined {
  return roots.find((root) => isWithin(root, source) || isWithin(source, root));
}

function isWithin(file: string, directory: string): boolean {
  return file === directory || file.startsWith(directory === "/" ? "/" : `${directory}/`);
}
