import { isErrno } from "@longshore/errors";
import { close, connectUnix, fcntl, memfdCreate, send, sendFds, socket, writeAll } from "@longshore/syscalls";
import type { JournaldRemote } from "../driver.ts";
import type { LogLine } from "./line-splitter.ts";
import type { Sender } from "./sender.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const F_ADD_SEALS = 1033;
/** SEAL, SHRINK, GROW and WRITE: the journal maps what nobody can change any more. */
const ALL_SEALS = 0xf;
const PRIORITY = { stdout: "6", stderr: "3" } as const;

/**
 * The journal's native protocol: a datagram an entry, or where that is too large a sealed file.
 * @throws Error in Docker's words where there is no journal
 * @see https://systemd.io/JOURNAL_NATIVE_PROTOCOL
 */
export function openJournaldSender({ socketPath, fields }: JournaldRemote): Sender {
  let fd = connect(socketPath);
  return {
    async send(line) {
      const entry = journalEntry(fields, line, new Date());
      try {
        deliver(fd, entry);
      } catch (error) {
        // The journal was started anew.
        if (!isErrno(error, "ECONNREFUSED", "ENOTCONN", "ECONNRESET")) throw error;
        close(fd);
        fd = connect(socketPath);
        deliver(fd, entry);
      }
    },
    async close() {
      close(fd);
    },
  };
}

function connect(socketPath: string): number {
  const fd = socket(AF_UNIX, SOCK_DGRAM);
  try {
    connectUnix(fd, socketPath);
    return fd;
  } catch (error) {
    close(fd);
    throw new Error("journald is not enabled on this host", { cause: error });
  }
}

function deliver(fd: number, entry: Buffer): void {
  try {
    send(fd, entry);
  } catch (error) {
    if (!isErrno(error, "EMSGSIZE", "ENOBUFS")) throw error;
    const file = memfdCreate("journal-entry");
    try {
      writeAll(file, entry);
      fcntl(file, F_ADD_SEALS, ALL_SEALS);
      sendFds(fd, new Uint8Array(0), [file]);
    } finally {
      close(file);
    }
  }
}

/** All fields of an entry, each `NAME=value`, or with its length where the value has newlines. */
export function journalEntry(
  fields: Readonly<Record<string, string>>,
  { stream, text, part }: LogLine,
  time: Date,
): Buffer {
  const own: [string, string][] = [
    ...Object.entries(fields),
    ["PRIORITY", PRIORITY[stream]],
    ["SYSLOG_TIMESTAMP", time.toISOString()],
    ...(part && !part.last ? [["CONTAINER_PARTIAL_MESSAGE", "true"] as [string, string]] : []),
    ...(part
      ? ([
          ["CONTAINER_PARTIAL_ID", String(part.id)],
          ["CONTAINER_PARTIAL_ORDINAL", String(part.ordinal)],
          ["CONTAINER_PARTIAL_LAST", String(part.last)],
        ] as [string, string][])
      : []),
  ];
  const named = own.filter(([name]) => name !== "");
  return Buffer.concat([
    ...named.map(([name, value]) => field(name, Buffer.from(value))),
    field("MESSAGE", text),
  ]);
}

function field(name: string, value: Buffer): Buffer {
  if (!value.includes(10)) return Buffer.concat([Buffer.from(`${name}=`), value, Buffer.from("\n")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from("\n")]);
}
