import fs from "node:fs";
import path from "node:path";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError, isErrno } from "@longshore/errors";
import { mknod, S_IFIFO } from "@longshore/syscalls";
import { validateIdentifierOf } from "../identifier.ts";
import { unmountBelow } from "./unmount.ts";

/** Directories below which bundles are made: `<dir>/<namespace>/<container id>`. */
export interface BundleDirs {
  /** For what the runtime may want to keep. */
  root: string;
  /** For the bundles themselves. */
  state: string;
}

/**
 * A container's OCI bundle. In it are, as the original makes it: `config.json`, `rootfs/`, `work` (a link), `log` (a FIFO that the
 * daemon reads), `shim-binary-path`, and once the shim is up `bootstrap.json`. The shim adds files of its own.
 */
export class Bundle {
  readonly namespace: string;
  readonly id: string;
  readonly path: string;
  readonly #work: string;
  #queue: string | undefined;

  constructor({ root, state }: BundleDirs, namespace: string, id: string) {
    this.namespace = namespace;
    this.id = id;
    this.path = path.join(state, namespace, id);
    this.#work = path.join(root, namespace, id);
  }

  get rootfs(): string {
    return path.join(this.path, "rootfs");
  }

  get log(): string {
    return path.join(this.path, "log");
  }

  /** Where its shim's events wait: a name that containers which share a shim have in common. */
  get eventQueue(): string {
    this.#queue ??= eventQueueOf(this.id, readIfThere(path.join(this.path, "config.json")) ?? "");
    return this.#queue;
  }

  /**
   * Make it; what was made is removed again when a step fails.
   * @throws EngineError `already_exists` when the directory is there, `invalid_argument` for an id that can't be one
   */
  create(spec: Any | undefined): void {
    validateIdentifierOf(`invalid task id ${this.id}`, this.id);
    fs.mkdirSync(path.dirname(this.path), { recursive: true, mode: 0o711 });
    fs.mkdirSync(path.dirname(this.#work), { recursive: true, mode: 0o711 });
    try {
      fs.mkdirSync(this.path, { mode: 0o700 });
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      throw new EngineError("already_exists", `bundle ${this.path}: already exists`);
    }
    try {
      this.#fill(spec);
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** The shim that serves this bundle, for a daemon that finds it later. */
  recordShim(shimBinary: string): void {
    fs.writeFileSync(path.join(this.path, "shim-binary-path"), shimBinary, { mode: 0o600 });
  }

  /** @returns undefined when the daemon ended before it had chosen one */
  recordedShim(): string | undefined {
    return readIfThere(path.join(this.path, "shim-binary-path"));
  }

  /** The pid that the shim wrote down as its own; 0 when it has not. */
  shimPid(): number {
    return Number(readIfThere(path.join(this.path, "shim.pid"))) || 0;
  }

  isEmpty(): boolean {
    return fs.readdirSync(this.path).length === 0;
  }

  /**
   * Unmount and remove it, with its work directory. Nothing below a mount is ever deleted: what can't be unmounted is an error. Removing
   * what is gone is none.
   */
  remove(): void {
    removeMountPoint(this.rootfs);
    removeTree(this.path);
    removeTree(this.#work);
  }

  #fill(spec: Any | undefined): void {
    if (spec) chownForRemappedRoot(this.path, spec.value);
    fs.mkdirSync(this.rootfs, { mode: 0o711 });
    removeTree(this.#work);
    fs.mkdirSync(this.#work, { mode: 0o711 });
    fs.symlinkSync(this.#work, path.join(this.path, "work"));
    if (spec) fs.writeFileSync(path.join(this.path, "config.json"), spec.value);
    mknod(this.log, S_IFIFO | 0o700);
  }
}

/** Annotations by which shims put containers together; the first that is there counts. */
const GROUPS = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

function eventQueueOf(id: string, spec: string): string {
  if (!GROUPS.some((name) => spec.includes(name))) return id;
  const { annotations = {} } = JSON.parse(spec) as { annotations?: Record<string, string> };
  const name = GROUPS.find((annotation) => annotations[annotation] !== undefined);
  if (name === undefined) return id;
  const hash = new Bun.CryptoHasher("sha256").update(annotations[name] ?? "").digest("hex");
  return `@${hash}`; // no container's id begins so
}

/** Remove a bundle's directory, whatever is still mounted in it. */
export function removeBundleTree(directory: string): void {
  removeMountPoint(path.join(directory, "rootfs"));
  fs.rmSync(directory, { recursive: true, force: true });
}

/** With user namespaces the container's root reads the bundle by its group. */
function chownForRemappedRoot(directory: string, spec: Buffer): void {
  if (!spec.includes('"gidMappings"')) return;
  const parsed = JSON.parse(spec.toString()) as {
    linux?: { gidMappings?: Array<{ containerID?: number; hostID?: number }> };
  };
  const gid = parsed.linux?.gidMappings?.find((mapping) => (mapping.containerID ?? 0) === 0)?.hostID ?? 0;
  if (gid === 0) return;
  fs.chownSync(directory, process.getuid?.() ?? 0, gid);
  fs.chmodSync(directory, 0o710);
}

/** Almost always an empty directory with nothing on it; only when it isn't, the mount table is read. */
function removeMountPoint(directory: string): void {
  try {
    fs.rmdirSync(directory);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return;
    if (!isErrno(error, "EBUSY", "ENOTEMPTY")) throw error;
    unmountBelow(directory);
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/** Hidden by a rename first, so that a half-removed directory is never taken for a whole one. */
function removeTree(directory: string): void {
  const hidden = path.join(path.dirname(directory), `.${path.basename(directory)}`);
  try {
    fs.renameSync(directory, hidden);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    return;
  }
  fs.rmSync(hidden, { recursive: true, force: true });
}

function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
