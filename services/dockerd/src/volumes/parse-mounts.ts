import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { type MountPoint, plainMount } from "./mount-point.ts";
import type { MountRequest } from "./mount-request.ts";

/*
 * What users write about mounts, with Docker's rules and words. Volumes are only named here: making them, and knowing their paths,
 * is for others.
 */

const PROPAGATIONS = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];
/** Words of a `-v` mode; of each kind there may be one. */
const MODES: readonly (readonly string[])[] = [
  ["ro", "rw"],
  ["z", "Z"],
  PROPAGATIONS,
  ["nocopy"],
  ["default", "consistent", "cached", "delegated"],
];
/** Of binds that don't say which. */
export const DEFAULT_PROPAGATION = "rprivate";

/** A mount that was asked for, and what the volume should be like, if it is to be made. */
export interface AskedMount {
  point: MountPoint;
  volume: { driver: string; labels: Record<string, string> | null; options: Record<string, string> | null };
}

/**
 * One of `HostConfig.Binds`: `/host:/container[:mode]`, `name:/container[:mode]` or `/container`.
 * @throws EngineError `invalid_argument`
 */
export function parseBindSpec(spec: string, volumeDriver = ""): AskedMount {
  const parts = spec.split(":");
  const invalid = new EngineError("invalid_argument", `invalid volume specification: '${spec}'`);
  if (parts.length > 3 || parts.includes("")) throw invalid;
  // `/path:ro`: a volume without a name has no mode.
  if (parts.length === 2 && isMode(parts[1] ?? "")) throw invalid;
  const [source, target, mode] =
    parts.length === 1 ? ["", parts[0] ?? "", ""] : [parts[0] ?? "", parts[1] ?? "", parts[2] ?? ""];
  if (!isMode(mode)) throw new EngineError("invalid_argument", `invalid mode: ${mode}`);
  const words = mode.split(",");
  const propagation = words.find((word) => PROPAGATIONS.includes(word));
  refuseRelabeling(words, spec);
  const isBind = path.isAbsolute(source);
  try {
    const { point, volume } = parseMountRequest(
      {
        Type: isBind ? "bind" : "volume",
        Source: source,
        Target: target,
        ReadOnly: words.includes("ro"),
        ...(propagation !== undefined && { BindOptions: { Propagation: propagation } }),
        ...(words.includes("nocopy") && { VolumeOptions: { NoCopy: true } }),
      },
      { sourceMustExist: false },
    );
    const driver = isBind ? "" : volumeDriver;
    return { point: { ...point, mode, makeSource: isBind }, volume: { ...volume, driver } };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new EngineError("invalid_argument", `${invalid.message}: ${error.message}`, { cause: error });
  }
}

function isMode(mode: string): boolean {
  if (mode === "") return true;
  const words = mode.split(",");
  return (
    words.every((word) => MODES.some((kind) => kind.includes(word))) &&
    MODES.every((kind) => words.filter((word) => kind.includes(word)).length <= 1)
  );
}

/** Without SELinux there is nothing to label. */
function refuseRelabeling(words: readonly string[], spec: string): void {
  const word = words.find((one) => one === "z" || one === "Z");
  if (word !== undefined && fs.existsSync("/sys/fs/selinux/enforce")) {
    throw new EngineError(
      "invalid_argument",
      `HostConfig.Binds: mode ${word} on a host with SELinux is not supported: '${spec}'`,
    );
  }
}

/**
 * One of `HostConfig.Mounts`.
 * @throws EngineError `invalid_argument`
 */
export function parseMountRequest(
  request: MountRequest,
  { sourceMustExist }: { sourceMustExist: boolean },
): AskedMount {
  const type = request.Type ?? "";
  const fail = (why: string): never => {
    throw new EngineError(
      "invalid_argument",
      `invalid mount config for type ${JSON.stringify(type)}: ${why}`,
    );
  };
  const target = request.Target ?? "";
  const source = request.Source ?? "";
  if (target === "") fail("field Target must not be empty");
  if (clean(target) === "/") fail("invalid specification: destination can't be '/'");
  if (!path.isAbsolute(target)) fail(`invalid mount path: '${target}' mount path must be absolute`);
  const own = OPTIONS_OF[type];
  if (own === undefined) return fail("mount type unknown");
  for (const field of ["BindOptions", "VolumeOptions", "TmpfsOptions", "ImageOptions"] as const) {
    if (field !== own && request[field]) fail(`field ${field} must not be specified`);
  }
  if (request.ClusterOptions) fail("field ClusterOptions must not be specified");
  const base = { type: type as MountPoint["type"], destination: clean(target), rw: !request.ReadOnly };
  switch (base.type) {
    case "bind":
      return { point: bindPoint(request, { ...base, source }, sourceMustExist, fail), volume: NO_VOLUME };
    case "volume":
      return volumeMount(request, { ...base, name: source }, fail);
    case "tmpfs":
      if (source !== "") fail("field Source must not be specified");
      return { point: plainMount({ ...base, options: tmpfsOptions(request, fail) }), volume: NO_VOLUME };
    case "image": {
      if (source === "") fail("field Source must not be empty");
      const subpath = request.ImageOptions?.Subpath ?? "";
      checkSubpath(subpath, fail);
      return { point: plainMount({ ...base, name: source, rw: false, subpath }), volume: NO_VOLUME };
    }
  }
}

/** Each type, and which options go with it. */
const OPTIONS_OF: Readonly<Record<string, string>> = {
  bind: "BindOptions",
  volume: "VolumeOptions",
  tmpfs: "TmpfsOptions",
  image: "ImageOptions",
};

const NO_VOLUME: AskedMount["volume"] = { driver: "", labels: null, options: null };

type Base = Pick<MountPoint, "type" | "destination" | "rw">;
type Fail = (why: string) => never;

function bindPoint(
  { BindOptions: options }: MountRequest,
  base: Base & { source: string },
  sourceMustExist: boolean,
  fail: Fail,
): MountPoint {
  if (base.source === "") fail("field Source must not be empty");
  const propagation = options?.Propagation ?? "";
  if (propagation !== "" && !PROPAGATIONS.includes(propagation))
    fail(`invalid propagation mode: ${propagation}`);
  if (!path.isAbsolute(base.source)) fail(`invalid mount path: '${base.source}' mount path must be absolute`);
  const source = clean(base.source);
  const makeSource = options?.CreateMountpoint ?? false;
  if (sourceMustExist && !makeSource && !fs.existsSync(source))
    fail(`bind source path does not exist: ${source}`);
  const force = options?.ReadOnlyForceRecursive ?? false;
  const flat = options?.ReadOnlyNonRecursive ?? false;
  if (force || flat) {
    if (base.rw)
      fail(
        `mount options conflict: ${force ? "ReadOnlyForceRecursive" : "ReadOnlyNonRecursive"} needs ReadOnly`,
      );
    if (force && flat) fail("mount options conflict: ReadOnlyForceRecursive && ReadOnlyNonRecursive");
    if (force && options?.NonRecursive)
      fail("mount options conflict: ReadOnlyForceRecursive && BindOptions.NonRecursive");
    if (force && (propagation || DEFAULT_PROPAGATION) !== "rprivate")
      fail("mount options conflict: ReadOnlyForceRecursive needs the propagation rprivate");
  }
  return plainMount({
    ...base,
    source,
    propagation,
    makeSource,
    nonRecursive: options?.NonRecursive ?? false,
    readOnlyBelow: force ? "force" : flat ? "no" : "try",
  });
}

function volumeMount(
  { VolumeOptions: options }: MountRequest,
  base: Base & { name: string },
  fail: Fail,
): AskedMount {
  const subpath = options?.Subpath ?? "";
  checkSubpath(subpath, fail);
  if (base.name === "" && !base.rw) fail("must not set ReadOnly mode when using anonymous volumes");
  return {
    point: plainMount({
      ...base,
      anonymous: base.name === "",
      copyUp: !(options?.NoCopy ?? false),
      subpath,
    }),
    volume: {
      driver: options?.DriverConfig?.Name ?? "",
      labels: options?.Labels ?? null,
      options: options?.DriverConfig?.Options ?? null,
    },
  };
}

/** A path below a root, which it doesn't leave by its words; what links do is seen to when it is opened. */
function checkSubpath(subpath: string, fail: Fail): void {
  if (subpath === "") return;
  const inside = path.normalize(subpath);
  if (path.isAbsolute(subpath) || inside === ".." || inside.startsWith("../"))
    fail("subpath must be a relative path within the volume");
}

/** What a tmpfs may be told beside its size and mode, with or without a value. */
const TMPFS_OPTIONS: Readonly<Record<string, boolean>> = {
  exec: false,
  noexec: false,
  uid: true,
  gid: true,
  nr_inodes: true,
  nr_blocks: true,
  mpol: true,
  huge: true,
};

function tmpfsOptions({ ReadOnly, TmpfsOptions: options }: MountRequest, fail: Fail): string[] {
  const { Mode, SizeBytes, Options } = options ?? {};
  if (SizeBytes && SizeBytes < 0) fail(`invalid tmpfs size: ${SizeBytes}`);
  const more = (Options ?? []).map(([name = "", value, ...rest]) => {
    const takesValue = TMPFS_OPTIONS[name];
    if (takesValue === undefined || rest.length > 0 || takesValue !== (value !== undefined))
      fail(`invalid option: ${[name, value].filter((word) => word !== undefined).join("=")}`);
    return value === undefined ? name : `${name}=${value}`;
  });
  return [
    ...(ReadOnly ? ["ro"] : []),
    ...(Mode ? [`mode=${Mode.toString(8)}`] : []),
    ...(SizeBytes ? [`size=${SizeBytes}`] : []),
    ...more,
  ];
}

/**
 * One of `HostConfig.VolumesFrom`: `container[:mode]`.
 * @throws EngineError `invalid_argument`
 */
export function parseVolumesFrom(spec: string): { container: string; rw: boolean } {
  if (spec === "") {
    throw new EngineError("invalid_argument", "volumes-from specification cannot be an empty string");
  }
  const at = spec.indexOf(":");
  const container = at < 0 ? spec : spec.slice(0, at);
  const mode = at < 0 ? "" : spec.slice(at + 1);
  const words = mode === "" ? [] : mode.split(",");
  const foreign = words.some((word) => PROPAGATIONS.includes(word) || word === "nocopy");
  if ((at >= 0 && mode === "") || !isMode(mode) || foreign)
    throw new EngineError("invalid_argument", `invalid mode: ${mode}`);
  return { container, rw: !words.includes("ro") };
}

/** A path without what adds nothing to it. */
export function clean(file: string): string {
  const normal = path.normalize(file);
  return normal.length > 1 ? normal.replace(/\/$/, "") : normal;
}
