import { EngineError } from "@longshore/errors";
import { exists, readDirectory, readFile, readlink, readTextIfExists } from "@longshore/syscalls";
import type { NatsAddress } from "./nats-url.ts";

/** `st` of an established connection in /proc/net/tcp. */
const ESTABLISHED = "01";

/** One connection as the kernel lists it. */
interface TcpRow {
  /** `ADDRESS:PORT` in hexadecimal, the address in the machine's byte order. */
  local: string;
  remote: string;
  state: string;
  /** Of the socket; 0 until it is accepted, and when it is closed. */
  inode: string;
}

/**
 * The file that names the process of the NATS server, where the one who starts it has it written: `FILE.pid`
 * beside the token's FILE.
 *
 * @returns undefined where there is none: the server is somebody else's, and the connection its owner's matter
 */
export function serverPidFile(tokenFile: string | undefined): string | undefined {
  const file = `${tokenFile}.pid`;
  return tokenFile !== undefined && exists(file) ? file : undefined;
}

/**
 * Make sure that the connection is one to the server. Its port is one that every container on the host's network
 * may listen on while the server is away, as root: neither the port nor the user tells the two apart, only the process
 * that holds the socket. Call this after the server has greeted: by then it has accepted the connection.
 *
 * @param pidFile of the server, from `serverPidFile`
 * @param localPort this end of the connection; left out, each of this process's connections to the server is looked at
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

/** All connections that one end of has the server's address, and that address as the kernel writes it. */
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
  // By hand: a busy host has thousands of connections, and the server's are few of them.
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

/** The inodes of a process's sockets; none of one that is gone. */
function socketsOf(pid: number | "self"): Set<string> {
  const inodes = new Set<string>();
  for (const { name } of entriesOf(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${name}`) ?? "")?.[1];
    if (inode !== undefined && inode !== "0") inodes.add(inode);
  }
  return inodes;
}

/** A server that is gone may have left its pid to a process of a container. */
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
