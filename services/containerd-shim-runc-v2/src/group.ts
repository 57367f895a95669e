import { EngineError } from "@longshore/errors";
import {
  AF_UNIX,
  close,
  connectUnix,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  openFile,
  readTextIfExists,
  SOCK_STREAM,
  socket,
  tryLock,
} from "@longshore/syscalls";
import { dirname } from "./paths.ts";

/** Annotations that name a group; the first that is there counts. Containers of one group share a shim. */
const ANNOTATIONS = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];
const LOCK_MS = 5000;

/** The group of a bundle's container. */
export function groupOf(bundle: string): string | undefined {
  const config = readTextIfExists(`${bundle}/config.json`) ?? "";
  // Parsed only when it may say so: each container's start waits for this.
  if (!ANNOTATIONS.some((name) => config.includes(name))) return undefined;
  const { annotations } = JSON.parse(config) as { annotations?: Record<string, string> };
  const name = ANNOTATIONS.find((annotation) => annotations?.[annotation] !== undefined);
  return name && annotations?.[name];
}

/** Whether a process listens on a unix socket. */
export function isServed(path: string): boolean {
  const fd = socket(AF_UNIX, SOCK_STREAM);
  try {
    connectUnix(fd, path);
    return true;
  } catch {
    return false;
  } finally {
    close(fd);
  }
}

/**
 * While it is held no other `start` looks for a shim, or makes one, whose socket is in the same directory.
 *
 * @throws EngineError `unavailable` when somebody else holds it too long
 */
export async function lockSockets(path: string): Promise<Disposable> {
  const fd = openFile(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (const end = Date.now() + LOCK_MS; !tryLock(fd); await Bun.sleep(1)) {
    if (Date.now() < end) continue;
    close(fd);
    throw new EngineError("unavailable", `${dirname(path)} is locked by another start`);
  }
  return { [Symbol.dispose]: () => close(fd) };
}
