import fs from "node:fs";
import type http from "node:http";
import net, { type ListenOptions, type Server, type Socket } from "node:net";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { F_SETFD, FD_CLOEXEC, fcntl } from "@longshore/syscalls";

const FIRST_FD = 3;

/**
 * Listen on a unix socket that root and a group may use; a stale socket file is replaced.
 * @param group its number; undefined leaves it root's
 */
export async function listenUnix(
  server: Server,
  socketPath: string,
  group: number | undefined,
): Promise<void> {
  fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o711 });
  try {
    fs.unlinkSync(socketPath);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
  const umask = process.umask(0o177);
  try {
    await listening(server, { path: socketPath });
  } finally {
    process.umask(umask);
  }
  // Its group before that may use it.
  if (group !== undefined) fs.chownSync(socketPath, 0, group);
  fs.chmodSync(socketPath, 0o660);
}

/** @throws EngineError with Docker's words when the address can't be had */
export async function listenTcp(
  server: Server,
  { hostname, port }: { hostname: string; port: number },
): Promise<void> {
  try {
    await listening(server, { host: hostname === "localhost" ? "127.0.0.1" : hostname, port });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new EngineError("failed_precondition", `listen tcp ${hostname}:${port}: ${why}`, { cause });
  }
}

export function listening(server: Server, options: ListenOptions & { fd?: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/**
 * A server that hands its connections to an HTTP server that doesn't listen. Bun's HTTP server takes
 * no socket that is open already, and does not count a connection before its first bytes.
 */
export function inFrontOf(behind: http.Server, onConnection: (socket: Socket) => void = () => {}): Server {
  return net.createServer({ allowHalfOpen: true }, (socket) => {
    onConnection(socket);
    behind.emit("connection", socket);
  });
}

/** How often it is logged that connections are closed because there are too many, milliseconds. */
const WARNING_INTERVAL_MS = 60_000;

/** Close the connections of a server that are more than so many at a time. */
export function limitConnections(server: Server, most: number, log: Logger): void {
  server.maxConnections = most;
  let warned = Number.NEGATIVE_INFINITY;
  server.on("drop", () => {
    if (performance.now() - warned < WARNING_INTERVAL_MS) return;
    warned = performance.now();
    log.warn({ most }, "too many connections: further ones are closed");
  });
}

/**
 * Take over the sockets that a supervisor has opened for this process.
 *
 * @returns their descriptors, from 3 on; none when it opened none for us
 * @see sd_listen_fds(3)
 */
export function inheritedSockets(env: NodeJS.ProcessEnv = process.env): number[] {
  const count = Number(env.LISTEN_PID) === process.pid ? Number(env.LISTEN_FDS) : 0;
  // Not for the programs that we start.
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete env[name];
  const fds = Array.from({ length: Number.isInteger(count) ? count : 0 }, (_, index) => FIRST_FD + index);
  for (const fd of fds) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fds;
}

/**
 * Those of the inherited sockets that `fd://NAME` means: all, or one by its descriptor's number.
 * @throws EngineError `invalid_argument` in Docker's words
 */
export function chooseSockets(name: string, fds: readonly number[]): readonly number[] {
  if (fds.length === 0)
    throw invalid("no sockets found via socket activation: make sure the service was started by systemd");
  if (name === "") return fds;
  if (!/^\d+$/.test(name)) throw invalid(`failed to parse systemd fd address: should be a number: ${name}`);
  if (!fds.includes(Number(name))) throw invalid("too few socket activated files passed in by systemd");
  return [Number(name)];
}

/**
 * The number of the group that unix sockets are given.
 *
 * @param wanted a name or a number; undefined is `docker`, where there is one
 * @throws EngineError `invalid_argument` for a group that isn't there
 */
export function socketGroup(wanted: string | undefined, file = "/etc/group"): number | undefined {
  if (wanted === "") return undefined;
  const name = wanted ?? "docker";
  const lines = fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n") : [];
  const found = lines.map((line) => line.split(":")).find(([group]) => group === name)?.[2];
  if (found !== undefined) return Number(found);
  if (wanted === undefined) return undefined;
  if (/^\d+$/.test(name)) return Number(name);
  throw invalid(`group ${name} not found`);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
