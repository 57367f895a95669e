import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { type Change, type Collection, collection, type Store } from "@longshore/store";
import { ensureDirectory } from "@longshore/syscalls";
import { Mutex } from "../containers/mutex.ts";
import type { EngineEvents } from "../events/engine-events.ts";
import { isMounted, mountVolume, unmountVolume } from "./mount-volume.ts";
import { checkVolumeDriver, checkVolumeName, checkVolumeOptions, volumeOptions } from "./volume-options.ts";

/** By this label a volume is known to have been given no name by anybody. */
export const ANONYMOUS_LABEL = "com.docker.volume.anonymous";

/** A volume as it is stored. */
export interface VolumeRecord {
  name: string;
  driver: "local";
  createdAt: string;
  /** As the client sent them: null when it sent none. */
  labels: Record<string, string> | null;
  options: Record<string, string> | null;
}

export interface NewVolume {
  /** Empty: one is made up. */
  name: string;
  driver?: string;
  labels?: Record<string, string> | null;
  options?: Record<string, string> | null;
}

export interface VolumesOptions {
  dataRoot: string;
  store: Store;
  events: EngineEvents;
  log: Logger;
  /** Nobody but root comes near them: set-user-id files of containers' roots, whom the host doesn't trust, are the host's root's on disk. */
  isPrivate?: boolean;
  /** Ids of the containers that have a volume mounted, whether they run or not. */
  containersWith: (name: string) => string[];
}

/** Beside a volume's `_data`: its options, for a daemon that has lost its records. */
const OPTIONS_FILE = "opts.json";
/** A directory with this file in it belongs to no volume, unless there is a record of one. */
const UNWANTED_FILE = "unwanted";
/** What is being copied into an empty volume. */
export const STAGE = "_copy";

/**
 * The volumes of the driver `local`: a record in the store, and a directory `volumes/<name>` with the files in `_data`. A volume of options
 * (tmpfs, nfs, bind, …) is a file system that is mounted there as long as a container that has it runs.
 */
export class Volumes {
  private readonly options: VolumesOptions;
  private readonly records: Collection<VolumeRecord>;
  private readonly known = new Map<string, VolumeRecord>();
  /** Volumes that nobody sees any more, and whose files are going to be removed. */
  private readonly leaving = new Map<string, VolumeRecord>();
  /** Containers that are being made, and the volumes that they will have. */
  private readonly held = new Map<string, Set<string>>();
  /** Whose process may see the volume's own file system. */
  private readonly mountedFor = new Map<string, Set<string>>();
  private readonly locks = new Map<string, { mutex: Mutex; users: number }>();

  constructor(options: VolumesOptions) {
    this.options = options;
    this.records = collection<VolumeRecord>(options.store, "volumes");
  }

  get root(): string {
    return path.join(this.options.dataRoot, "volumes");
  }

  directory(name: string): string {
    return path.join(this.root, name);
  }

  /** Where the files are. */
  mountpoint(name: string): string {
    return path.join(this.directory(name), "_data");
  }

  /** Read what is stored, finish what a daemon that was killed had begun, and take in directories that somebody put there. */
  async load(): Promise<void> {
    for (const { key, value } of await this.records.list()) this.known.set(key, value);
    ensureDirectory(this.root, this.options.isPrivate ? 0o700 : 0o701);
    for (const name of fs.readdirSync(this.root)) {
      const directory = this.directory(name);
      if (this.known.has(name)) {
        fs.rmSync(path.join(directory, UNWANTED_FILE), { force: true });
        fs.rmSync(path.join(directory, STAGE), { recursive: true, force: true });
      } else if (fs.existsSync(path.join(directory, UNWANTED_FILE))) await this.removeDirectory(name);
      else await this.adopt(name);
    }
  }

  private async adopt(name: string): Promise<void> {
    const directory = this.directory(name);
    if (!fs.existsSync(this.mountpoint(name))) {
      // Not even marked yet, or no longer.
      if (fs.statSync(directory).isDirectory() && fs.readdirSync(directory).length === 0)
        fs.rmdirSync(directory);
      return;
    }
    try {
      checkVolumeName(name);
      const record: VolumeRecord = {
        name,
        driver: "local",
        createdAt: fs.statSync(directory).mtime.toISOString(),
        labels: null,
        options: readOptions(path.join(directory, OPTIONS_FILE)),
      };
      await this.options.store.commit([this.records.put(name, record)]);
      this.known.set(name, record);
      this.options.log.info({ name }, "a volume without a record is taken in");
    } catch (error) {
      this.options.log.warn({ name, err: error }, "a directory among the volumes is none");
    }
  }

  list(): VolumeRecord[] {
    return [...this.known.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): VolumeRecord | undefined {
    return this.known.get(name);
  }

  /** @throws EngineError `not_found` in Docker's words */
  find(name: string): VolumeRecord {
    const record = this.known.get(name);
    if (!record) throw new EngineError("not_found", `get ${name}: no such volume`);
    return record;
  }

  /** Ids of the containers that a volume is there for. */
  usersOf(name: string): string[] {
    const making = [...this.held].flatMap(([id, names]) => (names.has(name) ? [id] : []));
    return [...new Set([...this.options.containersWith(name), ...making])];
  }

  /**
   * Make a volume, or find the one of that name.
   * @throws EngineError `invalid_argument` or `not_found` in Docker's words
   */
  async create(asked: NewVolume): Promise<VolumeRecord> {
    if (asked.name !== "")
      return this.locked(asked.name, async () => this.known.get(asked.name) ?? this.add(asked));
    return this.add(asked);
  }

  private async add(asked: NewVolume): Promise<VolumeRecord> {
    const { record, change } = this.prepare(asked);
    try {
      await this.options.store.commit([change]);
    } catch (error) {
      await this.forget(record.name);
      throw error;
    }
    this.wanted(record);
    return record;
  }

  /**
   * Make a new volume's directory. The volume is there once the change is committed and {@link wanted} is called; until then
   * {@link forget} takes it back, also a daemon that starts.
   */
  prepare(asked: NewVolume): { record: VolumeRecord; change: Change } {
    const name = asked.name || crypto.randomBytes(32).toString("hex");
    checkVolumeDriver(name, asked.driver ?? "");
    checkVolumeName(name);
    checkVolumeOptions(name, asked.options ?? {});
    const record: VolumeRecord = {
      name,
      driver: "local",
      createdAt: new Date().toISOString().replace(/\.\d+/, ""),
      labels: asked.name === "" ? { ...asked.labels, [ANONYMOUS_LABEL]: "" } : (asked.labels ?? null),
      options: asked.options ?? null,
    };
    const directory = this.directory(name);
    fs.mkdirSync(directory, { recursive: true, mode: 0o701 });
    fs.writeFileSync(path.join(directory, UNWANTED_FILE), "");
    if (volumeOptions(record.options))
      fs.writeFileSync(path.join(directory, OPTIONS_FILE), JSON.stringify(record.options), { mode: 0o600 });
    fs.mkdirSync(this.mountpoint(name), { recursive: true, mode: 0o755 });
    this.known.set(name, record);
    return { record, change: this.records.put(name, record) };
  }

  /** A prepared volume has been committed. */
  wanted({ name, driver }: VolumeRecord): void {
    fs.rmSync(path.join(this.directory(name), UNWANTED_FILE), { force: true });
    this.options.events.emit("volume", "create", name, { driver });
  }

  /** A prepared volume won't be. */
  async forget(name: string): Promise<void> {
    this.known.delete(name);
    await this.removeDirectory(name);
    // A store that didn't answer may have it all the same.
    await this.options.store.commit([this.records.delete(name)], [], { whenAway: "keep" });
  }

  /** Whether a container could run that has the volume. */
  isInUse(name: string): boolean {
    return this.options.containersWith(name).length > 0;
  }

  /** Keep a volume for a container that is being made. */
  hold(containerId: string, name: string): void {
    const names = this.held.get(containerId) ?? new Set();
    this.held.set(containerId, names.add(name));
  }

  /** The container has a record, or won't be. */
  letGo(containerId: string): void {
    this.held.delete(containerId);
  }

  /** Let a volume go out of everybody's sight, unless another container has it; {@link remove} takes it away. */
  leave(name: string, containerId: string): void {
    const record = this.known.get(name);
    if (!record || this.usersOf(name).some((id) => id !== containerId)) return;
    this.known.delete(name);
    this.leaving.set(name, record);
    this.options.events.emit("volume", "destroy", name, { driver: record.driver });
  }

  /**
   * Remove a volume with all that is in it.
   *
   * @param except a container that doesn't count, since it is being removed
   * @throws EngineError `not_found`, or `conflict` while a container has it
   */
  remove(name: string, except?: string): Promise<void> {
    return this.locked(name, async () => {
      const { driver } = this.leaving.get(name) ?? this.find(name);
      const users = this.usersOf(name).filter((id) => id !== except);
      if (users.length > 0) {
        throw new EngineError("conflict", `remove ${name}: volume is in use - [${users.join(", ")}]`);
      }
      const directory = this.directory(name);
      const mark = path.join(directory, UNWANTED_FILE);
      if (isMounted(this.mountpoint(name))) unmountVolume(this.mountpoint(name));
      if (fs.existsSync(directory)) fs.writeFileSync(mark, "");
      try {
        await this.options.store.commit([this.records.delete(name)]);
      } catch (error) {
        fs.rmSync(mark, { force: true });
        throw error;
      }
      // Who has asked for it meanwhile waits, and gets a new one.
      const wasSeen = this.known.delete(name);
      this.leaving.delete(name);
      await this.removeDirectory(name);
      if (wasSeen) this.options.events.emit("volume", "destroy", name, { driver });
    });
  }

  /** Do something while nobody else changes what a volume is. */
  async locked<T>(name: string, work: () => Promise<T>): Promise<T> {
    const lock = this.locks.get(name) ?? { mutex: new Mutex(), users: 0 };
    this.locks.set(name, lock);
    lock.users += 1;
    try {
      return await lock.mutex.run(work);
    } finally {
      lock.users -= 1;
      if (lock.users === 0) this.locks.delete(name);
    }
  }

  /**
   * Have a volume's files at its mountpoint as long as a container's process may use them.
   * @returns the path
   * @throws EngineError `not_found`, or what mounting tells
   */
  async mount(name: string, containerId: string): Promise<string> {
    const options = volumeOptions(this.find(name).options);
    const target = this.mountpoint(name);
    if (!options) {
      // As Docker's, it comes back when somebody took it away.
      fs.mkdirSync(target, { recursive: true, mode: 0o755 });
      return target;
    }
    await this.locked(name, async () => {
      this.find(name);
      const users = this.mountedFor.get(name) ?? new Set();
      this.mountedFor.set(name, users.add(containerId));
      if (isMounted(target)) return;
      try {
        await mountVolume(options, target);
      } catch (error) {
        users.delete(containerId);
        const why = error instanceof Error ? error.message : String(error);
        throw new EngineError("internal", `error while mounting volume '${target}': ${why}`, {
          cause: error,
        });
      }
    });
    return target;
  }

  /** A container's process is gone: a file system that nobody else uses is unmounted. */
  async unmount(name: string, containerId: string): Promise<void> {
    const users = this.mountedFor.get(name);
    if (!users) return;
    await this.locked(name, async () => {
      users.delete(containerId);
      if (users.size > 0) return;
      this.mountedFor.delete(name);
      if (isMounted(this.mountpoint(name))) unmountVolume(this.mountpoint(name));
    });
  }

  /** At start: which containers run with which volumes; file systems that none of them has are unmounted. */
  settle(running: ReadonlyMap<string, readonly string[]>): void {
    for (const [id, names] of running) {
      for (const name of names) {
        if (!volumeOptions(this.known.get(name)?.options ?? null)) continue;
        this.mountedFor.set(name, (this.mountedFor.get(name) ?? new Set()).add(id));
      }
    }
    for (const { name } of this.known.values()) {
      const target = this.mountpoint(name);
      if (!this.mountedFor.has(name) && isMounted(target)) unmountVolume(target);
    }
  }

  /** The mark goes last: what a daemon that is killed leaves of it is no volume. */
  private async removeDirectory(name: string): Promise<void> {
    const directory = this.directory(name);
    for (const part of ["_data", STAGE, OPTIONS_FILE, ""])
      await fs.promises.rm(path.join(directory, part), { recursive: true, force: true });
  }
}

function readOptions(file: string): Record<string, string> | null {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, string>;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return null;
    throw error;
  }
}
