import { EngineError } from "@longshore/errors";
import { exists, readDirectory, readFile, readlink, readTextIfExists } from "@longshore/syscalls";
import type { NatsAddress } from "./nats-url.ts";

/** `st` of an established connection in /proc/net/tcp. */
const ESTABLISHED = "01";

/** One connection as /proc/net/tcp lists it (proc(5)). */
interface TcpRow {
  /** `ADDRESS:PORT` in hexadecimal, the address in the machine's byte order. */
  local: string;
  remote: string;
  state: string;
  /** Of the socket; 0 until it is accepted, and when it is closed. */
  inode: string;
}

/**
 * Find the file with the pid of the NATS server: `FILE.pid` beside the token's FILE. The suite has
 * its own nats-server write it.
 *
 * @returns undefined where there is none: somebody else runs the server, and its process is unknown
 */
export function serverPidFile(tokenFile: string | undefined): string | undefined {
  const file = `${tokenFile}.pid`;
  return tokenFile !== undefined && exists(file) ? file : undefined;
}

/**
 * Check that a connection leads to the server. While the server is away, a container on the host's
 * network can listen on its port, also as root. Only the process that holds the other end of the
 * connection tells the two apart. Call this after the server's greeting: before the connection is
 * accepted, its other end belongs to no process.
 *
 * @param pidFile of the server, from `serverPidFile`
 * @param localPort of the connection; without it all of this process's connections are checked
 * @throws EngineError `unavailable` unless the process of the file holds the other end
 */
export function assertServerProcess(pidFile: string, server: NatsAddress, localPort?: number): void {
  const [remote, rows] = connectionsWith(server);
  const own =
    localPort === undefined
      ? ownPorts(rows, remote)
      : [localPort.toString(16).toUpperCase().padStart(4, "0")];
  const pid = Number(readTextIfExists(pidFile));
  const held = pid > 0 && isOfOurMounts(pid) ? socketsOf(pid) : new Set<string>();
  const isServers = (port: string) =>
    rows.some((row) => row.local === remote && row.remote.endsWith(`:${port}`) && held.has(row.inode));
  if (own.length > 0 && own.every(isServers)) return;
  const what = `port ${server.port} is held by another process than the NATS server of ${pidFile}`;
  throw new EngineError("unavailable", `${what}: it is not trusted with the token`);
}

/** The server's address as the kernel writes it, and all connections that have it at one end. */
function connectionsWith({ host, port }: NatsAddress): [string, TcpRow[]] {
  const bytes = /^\d{1,3}(\.\d{1,3}){3}$/.test(host) ? host.split(".").map(Number) : undefined;
  if (!bytes)
    throw new EngineError(
      "invalid_argument",
      `NATS at ${host}: a server with a pid file has an IPv4 address`,
    );
  const address = `${hex(bytes.reverse(), 2)}:${hex([port], 4)}`;
  const table = readFile("/proc/net/tcp");
  const rows: TcpRow[] = [];
  // Only these rows are parsed: a busy host has thousands of others.
  for (let at = table.indexOf(address); at >= 0; at = table.indexOf(address, at + 1)) {
    const start = table.lastIndexOf(NEWLINE, at) + 1;
    const end = table.indexOf(NEWLINE, at);
    const words = table
      .toString("latin1", start, end < 0 ? table.length : end)
      .trim()
      .split(/\s+/);
    const [, local = "", remote = "", state = "", , , , , , inode = "0"] = words;
    rows.push({ local, remote, state, inode });
  }
  return [address, rows];
}

/** This process's ports, in hexadecimal, of its connections to the server. */
function ownPorts(rows: TcpRow[], remote: string): string[] {
  const own = socketsOf("self");
  return rows
    .filter((row) => row.remote === remote && row.state === ESTABLISHED && own.has(row.inode))
    .map((row) => row.local.slice(-4));
}

/** The inodes of a process's sockets; empty when the process is gone. */
function socketsOf(pid: number | "self"): Set<string> {
  const inodes = new Set<string>();
  for (const { name } of entriesOf(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${name}`) ?? "")?.[1];
    if (inode !== undefined && inode !== "0") inodes.add(inode);
  }
  return inodes;
}

/** Whether a process is in our mount namespace. A container may get the pid of an ended server. */
function isOfOurMounts(pid: number): boolean {
  const ours = linkOf("/proc/self/ns/mnt");
  return ours !== undefined && linkOf(`/proc/${pid}/ns/mnt`) === ours;
}

function entriesOf(directory: string): { name: string }[] {
  try {
    return readDirectory(directory);
  } catch {
    return [];
  }
}

function linkOf(file: string): string | undefined {
  try {
    return readlink(file);
  } catch {
    return undefined;
  }
}

function hex(numbers: number[], digits: number): string {
  return numbers.map((number) => number.toString(16).toUpperCase().padStart(digits, "0")).join("");
}

const NEWLINE = 0x0a;
