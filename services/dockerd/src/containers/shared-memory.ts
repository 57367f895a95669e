import fs from "node:fs";
import path from "node:path";
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, mount } from "@longshore/syscalls";
import type { Engine } from "../engine.ts";
import { isRemapped } from "../userns/user-namespaces.ts";
import { isMounted, mountsBelow, unmountVolume } from "../volumes/mount-volume.ts";
import type { ContainerRecord } from "./container.ts";
import { hasProcess } from "./container-status.ts";

/** Where on the host the /dev/shm of a container is that shares it (`--ipc shareable`). */
export function sharedMemoryDir(engine: Engine, id: string): string {
  return path.join(engine.flags.execRoot, "shm", id);
}

/** Mount the /dev/shm of a container that may share it; nothing for another one. */
export function mountSharedMemory(engine: Engine, { id, hostConfig }: ContainerRecord): void {
  if (hostConfig.IpcMode !== "shareable") return;
  const target = sharedMemoryDir(engine, id);
  unmountSharedMemory(engine, id);
  fs.mkdirSync(target, { recursive: true, mode: 0o700 });
  const { uid, gid } = isRemapped(engine.userns, hostConfig) ? engine.userns.root : { uid: 0, gid: 0 };
  mount({
    source: "shm",
    target,
    type: "tmpfs",
    flags: MS_NOSUID | MS_NOEXEC | MS_NODEV,
    data: `mode=1777,size=${hostConfig.ShmSize},uid=${uid},gid=${gid}`,
  });
}

/** Its process has ended: who shares it keeps it, as long as they live. */
export function unmountSharedMemory(engine: Engine, id: string): void {
  const target = sharedMemoryDir(engine, id);
  if (!fs.existsSync(target)) return;
  try {
    while (isMounted(target)) unmountVolume(target);
    fs.rmdirSync(target);
  } catch (error) {
    engine.log.warn({ id, err: error }, "unmounting shared memory");
  }
}

/** Those of containers that have ended while no daemon was there. */
export function removeStaleSharedMemory(engine: Engine): void {
  const directory = path.join(engine.flags.execRoot, "shm");
  const left = new Set([
    ...mountsBelow(directory).map((point) => path.basename(point)),
    ...(fs.existsSync(directory) ? fs.readdirSync(directory) : []),
  ]);
  for (const id of left) {
    const status = engine.containers.get(id)?.record.state.status;
    if (status === undefined || !hasProcess(status)) unmountSharedMemory(engine, id);
  }
}
