import {
  AF_UNIX,
  bindUnix,
  chmod,
  close,
  dup3,
  fixedBuffer,
  listen,
  O_CLOEXEC,
  O_RDWR,
  openFile,
  read,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  socket,
  writeAll,
  writeFile,
} from "@longshore/syscalls";
import type { Flags } from "./flags.ts";
import { groupOf, isServed, lockSockets } from "./group.ts";
import { removeIfThere } from "./paths.ts";
import { serve } from "./serve.ts";
import { socketPath } from "./socket-path.ts";

/**
 * `start` for a containerd that reads the answer to its end and doesn't wait for this process's: it is the long-lived one itself,
 * which saves the start of a second, unless the container's group has one already. The answer comes first: the kernel queues who connects
 * before this process serves.
 */
export async function stay(flags: Flags): Promise<number> {
  // The runtime's options, which also come with Create.
  while (read(0, fixedBuffer(4096)) > 0);
  const group = groupOf(process.cwd());
  const path = socketPath({ ...flags, id: group ?? flags.id }, "");
  const lock = group === undefined ? undefined : await lockSockets(path);
  const joins = group !== undefined && isServed(path);
  const listener = joins ? undefined : listenAt(path);
  lock?.[Symbol.dispose]();
  writeFile("address", `unix://${path}`);
  if (listener !== undefined) writeFile("shim.pid", String(process.pid));
  writeAll(1, `unix://${path}`);
  if (listener === undefined) return 0;
  detach();
  return serve({ ...flags, socket: path }, { listener });
}

function listenAt(path: string): number {
  removeIfThere(path);
  const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK);
  bindUnix(fd, path);
  chmod(path, 0o600);
  listen(fd);
  return fd;
}

/** End the answer, and keep nothing of containerd's open. */
function detach(): void {
  const nothing = openFile("/dev/null", O_RDWR | O_CLOEXEC);
  for (const fd of [0, 1, 2]) dup3(nothing, fd);
  close(nothing);
}
