import dgram from "node:dgram";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import tls from "node:tls";
import { close, connectUnix, realTime, send, socket } from "@longshore/syscalls";
import type { SyslogRemote } from "../driver.ts";
import { syslogMessage } from "../syslog-message.ts";
import type { Sender } from "./sender.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
/** Where a machine's own server listens. */
const LOCAL_SOCKETS = ["/dev/log", "/var/run/syslog", "/var/run/log"];
const CONNECT_MS = 10_000;

interface Connection {
  /** Resolves when there is room for the next message. */
  write(message: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** @throws Error as Go's dialer tells of a server that isn't there */
export async function openSyslogSender(remote: SyslogRemote): Promise<Sender> {
  let connection: Connection | undefined = await connect(remote);
  const deliver = async (message: Buffer) => {
    connection ??= await connect(remote);
    try {
      await connection.write(message);
    } catch (error) {
      const broken = connection;
      connection = undefined;
      await broken.close();
      throw error;
    }
  };
  return {
    async send({ stream, text }) {
      const { seconds, nanos } = realTime();
      const now = { date: new Date(seconds * 1000 + nanos / 1e6), micros: Math.floor(nanos / 1000) % 1000 };
      const message = syslogMessage(remote, stream, text, now);
      // A server that was started anew gets it at the second try.
      await deliver(message).catch(() => deliver(message));
    },
    close: async () => connection?.close(),
  };
}

async function connect(remote: SyslogRemote): Promise<Connection> {
  const { protocol, address } = remote;
  switch (protocol) {
    case "":
      return connectLocal();
    case "unixgram":
      return connectDatagram(address);
    case "udp":
      return connectUdp(address);
    default:
      return connectStream(remote);
  }
}

async function connectLocal(): Promise<Connection> {
  for (const file of LOCAL_SOCKETS) {
    for (const attempt of [() => connectDatagram(file), () => connectUnixStream(file)]) {
      try {
        return await attempt();
      } catch {
        // the next one
      }
    }
  }
  throw new Error("Unix syslog delivery error");
}

/** A blocking one: a server that is busy makes us wait, and who fills our pipes with us. */
function connectDatagram(file: string): Connection {
  const fd = socket(AF_UNIX, SOCK_DGRAM);
  try {
    connectUnix(fd, file);
  } catch (error) {
    close(fd);
    throw dialError("unixgram", file, error);
  }
  return {
    write: async (message) => void send(fd, message),
    close: async () => close(fd),
  };
}

async function connectUdp(address: string): Promise<Connection> {
  const { host, port } = splitAddress(address);
  const udp = dgram.createSocket(net.isIPv6(host) ? "udp6" : "udp4");
  udp.on("error", () => {}); // told to who sends
  try {
    await new Promise<void>((resolve, reject) => {
      udp.once("error", reject);
      udp.connect(port, host, resolve);
    });
  } catch (error) {
    udp.close();
    throw dialError("udp", address, error);
  }
  return {
    write: (message) =>
      new Promise((resolve, reject) => udp.send(message, (error) => (error ? reject(error) : resolve()))),
    close: async () => void udp.close(),
  };
}

function connectUnixStream(file: string): Promise<Connection> {
  return overStream("unix", file, () => net.connect({ path: file }), "connect");
}

async function connectStream(remote: SyslogRemote): Promise<Connection> {
  const { protocol, address } = remote;
  if (protocol === "unix") return connectUnixStream(address);
  const { host, port } = splitAddress(address);
  if (protocol === "tcp") return overStream("tcp", address, () => net.connect({ host, port }), "connect");
  const { ca, cert, key, skipVerify } = remote.tls;
  const options: tls.ConnectionOptions = {
    host,
    port,
    ...(!net.isIP(host) && { servername: host }),
    ...(ca !== "" && { ca: fs.readFileSync(ca) }),
    ...(cert !== "" && { cert: fs.readFileSync(cert) }),
    ...(key !== "" && { key: fs.readFileSync(key) }),
    rejectUnauthorized: !skipVerify,
  };
  return overStream("tcp", address, () => tls.connect(options), "secureConnect");
}

async function overStream(
  protocol: string,
  address: string,
  open: () => net.Socket,
  ready: "connect" | "secureConnect",
): Promise<Connection> {
  const stream = open();
  let broken: Error | undefined;
  const fail = (error?: Error) => {
    broken ??= error ?? new Error("the server has closed the connection");
  };
  stream.on("error", fail);
  stream.on("close", () => fail());
  stream.on("end", () => fail());
  stream.resume(); // so that its end is noticed
  try {
    await once(stream, ready, { signal: AbortSignal.timeout(CONNECT_MS) });
  } catch (error) {
    stream.destroy();
    throw dialError(protocol, address, error);
  }
  return {
    async write(message) {
      if (broken) throw broken;
      if (stream.write(message)) return;
      // "close" comes after every end, so that nobody waits for what won't be.
      await Promise.race([once(stream, "drain"), once(stream, "close")]);
      if (broken) throw broken;
    },
    async close() {
      if (broken) return void stream.destroy();
      const closed = once(stream, "close");
      stream.end();
      await closed;
    },
  };
}

function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(at + 1)) };
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: "connection refused",
  ENOENT: "no such file or directory",
  EPROTOTYPE: "protocol wrong type for socket",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network is unreachable",
  ENOTFOUND: "no such host",
  ABORT_ERR: "i/o timeout",
};

/** What isn't said of the connection itself. */
const LOOKUP = ["no such host", "i/o timeout"];

function dialError(protocol: string, address: string, cause: unknown): Error {
  const { code = "", message } = cause as { code?: string | number; message: string };
  const reason = REASONS[String(code)];
  const why = reason === undefined ? message : LOOKUP.includes(reason) ? reason : `connect: ${reason}`;
  return new Error(`dial ${protocol} ${address}: ${why}`, { cause });
}
