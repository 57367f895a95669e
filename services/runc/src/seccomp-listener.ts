import { EngineError, isErrno } from "@longshore/errors";
import { type Seccomp, SPEC_VERSION } from "@longshore/oci";
import {
  AF_UNIX,
  close,
  connectUnix,
  readDirectory,
  readlink,
  SOCK_STREAM,
  sendFds,
  sleepMs,
  socket,
} from "@longshore/syscalls";
import { reason, StartError } from "./start-error.ts";

const WAIT_MS = 10_000;

/** The descriptor, in a process that loads a filter on its own, through which the filter asks; waits until it is there. */
export function findListener(pid: number): number {
  const directory = `/proc/${pid}/fd`;
  for (let attempt = 0; attempt < WAIT_MS; attempt++) {
    for (const { name } of readDirectory(directory)) {
      if (nameOf(`${directory}/${name}`) === "anon_inode:seccomp notify") return Number(name);
    }
    sleepMs(1);
  }
  throw new StartError("unable to init seccomp: no listener");
}

function nameOf(path: string): string | undefined {
  try {
    return readlink(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined; // closed meanwhile
    throw error;
  }
}

/**
 * Send the listener of a filter to the agent that answers for calls (config-linux.md#seccomp), with the state of the process that it
 * is about.
 */
export function sendListener(
  profile: Seccomp | undefined,
  { pid, state }: { pid: number; state: object },
  fd: number,
): void {
  const path = profile?.listenerPath;
  if (!path) throw new EngineError("invalid_argument", "seccomp listenerPath is not set");
  const message = {
    ociVersion: SPEC_VERSION,
    fds: ["seccompFd"],
    pid,
    ...(profile.listenerMetadata ? { metadata: profile.listenerMetadata } : {}),
    state,
  };
  const connection = socket(AF_UNIX, SOCK_STREAM);
  try {
    connectUnix(connection, path);
  } catch (error) {
    throw new StartError(
      `failed to connect with seccomp agent specified in the seccomp profile: dial unix ${path}: ${reason(error)}`,
    );
  }
  sendFds(connection, Buffer.from(JSON.stringify(message)), [fd]);
  close(connection);
}
