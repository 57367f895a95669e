import path from "node:path";
import type { Flag, FlagValues } from "../flags.ts";
import { parseMemory } from "../format/units.ts";

export const MOUNT_FLAGS: readonly Flag[] = [
  {
    name: "mount",
    kind: "list",
    value: "mount",
    help: "Attach a filesystem mount to the container",
    check: (value) => void parseMount(value),
  },
  { name: "volume", short: "v", kind: "list", help: "Bind mount a volume" },
  { name: "volume-driver", kind: "string", help: "Optional volume driver for the container" },
  { name: "volumes-from", kind: "list", help: "Mount volumes from the specified container(s)" },
];

/** What these flags set of a create request, and of its HostConfig. */
export function mountOptions(flags: FlagValues): {
  volumes: Record<string, object> | undefined;
  host: Record<string, unknown>;
} {
  const given = flags.list("volume");
  const anonymous = given.filter((spec) => !spec.includes(":"));
  const binds = given.filter((spec) => spec.includes(":")).map(absoluteSource);
  return {
    volumes: anonymous.length > 0 ? Object.fromEntries(anonymous.map((target) => [target, {}])) : undefined,
    host: {
      ...(binds.length > 0 && { Binds: binds }),
      ...(flags.has("mount") && { Mounts: flags.list("mount").map(parseMount) }),
      ...(flags.has("volume-driver") && { VolumeDriver: flags.string("volume-driver") }),
      ...(flags.has("volumes-from") && { VolumesFrom: flags.list("volumes-from") }),
    },
  };
}

/** `./x` is below the current directory. */
function absoluteSource(spec: string): string {
  if (!spec.startsWith(".")) return spec;
  const colon = spec.indexOf(":");
  return path.resolve(spec.slice(0, colon)) + spec.slice(colon);
}

type Fields = Record<string, unknown>;

/** Parts of a mount, as its keys come one after the other. */
interface Parts {
  mount: Fields & { Type: string };
  bind: Fields;
  volume: Fields & { Labels?: Record<string, string> };
  driver: { Name?: string; Options?: Record<string, string> };
  image: Fields;
  tmpfs: Fields;
}

/** Each key of `--mount`: what its value sets. */
const KEYS: Readonly<Record<string, (parts: Parts, value: string) => void>> = {
  type: ({ mount }, value) => {
    mount.Type = value.toLowerCase();
  },
  source: setSource,
  src: setSource,
  target: setTarget,
  dst: setTarget,
  destination: setTarget,
  readonly: ({ mount }, value) => {
    mount.ReadOnly = truth("readonly", value);
  },
  ro: ({ mount }, value) => {
    mount.ReadOnly = truth("ro", value);
  },
  consistency: ({ mount }, value) => {
    mount.Consistency = value.toLowerCase();
  },
  "bind-propagation": ({ bind }, value) => {
    bind.Propagation = value.toLowerCase();
  },
  "bind-nonrecursive": ({ bind }, value) => {
    bind.NonRecursive = truth("bind-nonrecursive", value);
  },
  "bind-recursive": setRecursive,
  "bind-create-src": ({ bind }, value) => {
    bind.CreateMountpoint = truth("bind-create-src", value);
  },
  "volume-subpath": ({ volume }, value) => {
    volume.Subpath = value;
  },
  "volume-nocopy": ({ volume }, value) => {
    volume.NoCopy = truth("volume-nocopy", value);
  },
  "volume-label": ({ volume }, value) => {
    volume.Labels = { ...volume.Labels, ...pair(value) };
  },
  "volume-driver": ({ driver }, value) => {
    driver.Name = value;
  },
  "volume-opt": ({ driver }, value) => {
    driver.Options = { ...driver.Options, ...pair(value) };
  },
  "image-subpath": ({ image }, value) => {
    image.Subpath = value;
  },
  "tmpfs-size": ({ tmpfs }, value) => {
    tmpfs.SizeBytes = wellFormed("tmpfs-size", value, parseMemory);
  },
  "tmpfs-mode": ({ tmpfs }, value) => {
    if (!/^[0-7]+$/.test(value)) throw invalid("tmpfs-mode", value);
    tmpfs.Mode = Number.parseInt(value, 8);
  },
};
/** Keys that may stand without a value. */
const SWITCHES = ["readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"];

function setSource({ mount }: Parts, value: string): void {
  mount.Source = value.startsWith(".") ? path.resolve(value) : value;
}

function setTarget({ mount }: Parts, value: string): void {
  mount.Target = value;
}

function setRecursive({ bind }: Parts, value: string): void {
  switch (value) {
    case "enabled":
      return;
    case "disabled":
      bind.NonRecursive = true;
      return;
    case "writable":
      bind.ReadOnlyNonRecursive = true;
      return;
    case "readonly":
      bind.ReadOnlyForceRecursive = true;
      return;
    default:
      throw new Error(
        `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`,
      );
  }
}

/**
 * One `--mount`: fields of a line of CSV, each `key=value`.
 * @throws Error in Docker's words
 */
export function parseMount(text: string): Fields {
  const parts: Parts = { mount: { Type: "volume" }, bind: {}, volume: {}, driver: {}, image: {}, tmpfs: {} };
  if (text === "") throw new Error("value is empty");
  for (const field of csvFields(text)) {
    const equals = field.indexOf("=");
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    const set = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
    if (equals < 0 && !(set && SWITCHES.includes(key)))
      throw new Error(`invalid field '${field}' must be a key=value pair`);
    if (!set) throw new Error(`unknown option '${key}' in '${field}'`);
    set(parts, equals < 0 ? "true" : field.slice(equals + 1));
  }
  const { mount, bind, volume, driver, image, tmpfs } = parts;
  if (mount.Type === "") throw new Error("type is required");
  if (mount.Target === undefined) throw new Error("target is required");
  const options = {
    BindOptions: bind,
    VolumeOptions: { ...volume, ...(isFilled(driver) && { DriverConfig: driver }) },
    ImageOptions: image,
    TmpfsOptions: tmpfs,
  };
  const given = Object.entries(options).filter(([, fields]) => isFilled(fields));
  for (const [name] of given) {
    const type = name.replace("Options", "").toLowerCase();
    if (type !== mount.Type)
      throw new Error(`cannot mix '${type}-*' options with mount type '${mount.Type}'`);
  }
  checkReadOnly(mount, bind);
  return { ...mount, ...Object.fromEntries(given) };
}

function checkReadOnly({ ReadOnly }: Fields, bind: Fields): void {
  if (bind.ReadOnlyNonRecursive && !ReadOnly)
    throw new Error("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction");
  if (!bind.ReadOnlyForceRecursive) return;
  if (!ReadOnly)
    throw new Error("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction");
  if (bind.Propagation !== "rprivate") {
    throw new Error(
      "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
    );
  }
}

function isFilled(fields: object): boolean {
  return Object.keys(fields).length > 0;
}

/** Fields between commas; one in quotes may have commas in it, and quotes written twice. */
function csvFields(line: string): string[] {
  const fields: string[] = [];
  const pattern = /(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/y;
  for (let comma = ","; comma === ","; ) {
    const match = pattern.exec(line);
    if (!match) throw new Error(`parse error on line 1: bare " in non-quoted field`);
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? "");
    comma = match[3] ?? "";
  }
  return fields;
}

function truth(key: string, value: string): boolean {
  if (["1", "t", "T", "TRUE", "true", "True"].includes(value)) return true;
  if (["0", "f", "F", "FALSE", "false", "False"].includes(value)) return false;
  throw invalid(key, value);
}

function wellFormed<T>(key: string, value: string, parse: (text: string) => T): T {
  try {
    return parse(value);
  } catch {
    throw invalid(key, value);
  }
}

function invalid(key: string, value: string): Error {
  return new Error(`invalid value for ${key}: ${value}`);
}

function pair(text: string): Record<string, string> {
  const equals = text.indexOf("=");
  return equals < 0 ? { [text]: "" } : { [text.slice(0, equals)]: text.slice(equals + 1) };
}
