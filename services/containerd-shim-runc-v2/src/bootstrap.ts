import fs from "node:fs";
import { EngineError, isErrno } from "@longshore/errors";
import type { Flags } from "./flags.ts";
import { groupOf, isServed, lockSockets } from "./group.ts";
import { IDLE_ENVIRONMENT } from "./lean.ts";
import { bootstrapMessages } from "./load.ts";
import { socketPath } from "./socket-path.ts";

/**
 * `start`: make the socket, start the long-lived process with it as descriptor 3, say where it is. The kernel queues who
 * connects before that process is up, so nothing waits for it. Where the container's group has a process already, say where that is.
 */
export async function start(flags: Flags): Promise<number> {
  const stdin = readStdin();
  const bundle = process.cwd();
  const group = groupOf(bundle);
  const asksNewly = isBootstrapParams(stdin, flags);
  const asked = asksNewly ? takeParams(stdin, flags) : "";
  const socket = socketPath({ ...flags, id: group ?? flags.id }, asked);
  using _ = group === undefined ? undefined : await lockSockets(socket);
  const joins = group !== undefined && isServed(socket);
  const grpc = process.env.LONGSHORE_SHIM_PROTOCOL === "grpc";
  if (!joins)
    fs.writeFileSync("shim.pid", String(grpc ? await startGrpc(flags, socket) : startTtrpc(flags, socket)));
  fs.writeFileSync("address", `unix://${socket}`);
  if (grpc) answer(JSON.stringify({ version: 3, address: `unix://${socket}`, protocol: "grpc" }));
  else answer(asksNewly ? bootstrapResult(`unix://${socket}`) : `unix://${socket}`);
  // At once: the listener here must not take a connection that is meant for the other process.
  process.exit(0);
}

/** @returns the pid of the process that serves */
function startTtrpc(flags: Flags, socket: string): number {
  removeStale(socket);
  const listener = Bun.listen({ unix: socket, socket: { data() {} } }) as unknown as { fd: number };
  fs.chmodSync(socket, 0o600);
  return spawnServer(flags, socket, listener.fd);
}

function spawnServer(flags: Flags, socket: string, listener: number | undefined): number {
  const argv = [
    process.execPath,
    ...["-namespace", flags.namespace, "-id", flags.id, "-address", flags.address, "-socket", socket],
    ...(flags.publishBinary ? ["-publish-binary", flags.publishBinary] : []),
    ...(flags.debug ? ["-debug"] : []),
    ...(listener === undefined ? ["serve-grpc"] : []),
  ];
  const child = Bun.spawn(argv, {
    argv0: process.argv0,
    env: { ...process.env, ...IDLE_ENVIRONMENT },
    stdio: listener === undefined ? ["ignore", "ignore", "ignore"] : ["ignore", "ignore", "ignore", listener],
    // A session of its own: no signal for containerd's group or terminal reaches it.
    detached: true,
  });
  child.unref();
  return child.pid;
}

/** grpc-js can't take over a listening socket, so this waits until the other process listens. */
async function startGrpc(flags: Flags, socket: string): Promise<number> {
  removeStale(socket);
  const pid = spawnServer(flags, socket, undefined);
  for (const end = Date.now() + 10_000; ; ) {
    try {
      const connection = await Bun.connect({ unix: socket, socket: { data() {} } });
      connection.terminate();
      return pid;
    } catch (cause) {
      if (Date.now() > end) throw new EngineError("unavailable", "the shim does not listen", { cause });
    }
    await Bun.sleep(2);
  }
}

function removeStale(socket: string): void {
  try {
    fs.unlinkSync(socket);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

function readStdin(): Buffer {
  try {
    return fs.readFileSync(0);
  } catch (error) {
    if (isErrno(error, "EAGAIN", "EBADF", "EISDIR")) return Buffer.alloc(0);
    throw error;
  }
}

function answer(text: string | Uint8Array): void {
  fs.writeSync(1, text as string);
}

/**
 * Whether stdin is the BootstrapParams of containerd 2.3 and not an older one's bare options, which could parse as such: its
 * first fields must be our id and namespace. Read by hand, since loading protobuf would cost more than all else here.
 */
function isBootstrapParams(stdin: Buffer, { id, namespace }: Pick<Flags, "id" | "namespace">): boolean {
  return stdin.indexOf(Buffer.concat([field(1, id), field(2, namespace)])) === 0;
}

/**
 * What BootstrapParams say that flags and environment may not. @returns the directory that the socket shall be in; empty: any
 */
function takeParams(stdin: Buffer, flags: Flags): string {
  // The socket's directory is field 9: without that tag there is none, and where events go is told otherwise.
  if (!stdin.includes(0x4a) && process.env.TTRPC_ADDRESS) return "";
  const { BootstrapParams } = bootstrapMessages();
  const { logLevel, containerdTtrpcAddress, containerdGrpcAddress, socketDir } =
    BootstrapParams.decode(stdin);
  process.env.TTRPC_ADDRESS ||= containerdTtrpcAddress;
  flags.address ||= containerdGrpcAddress;
  flags.debug ||= logLevel < 0;
  return socketDir ?? "";
}

/** BootstrapResult: 1 version, 2 address, 3 protocol. */
function bootstrapResult(address: string): Buffer {
  return Buffer.concat([Buffer.from([0x08, 3]), field(2, address), field(3, "ttrpc")]);
}

function field(number: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
}
