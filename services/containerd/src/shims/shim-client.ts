import { TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import { TaskDefinition as TaskDefinition3 } from "@longshore/api/containerd/runtime/task/v3/shim";
import { EngineError } from "@longshore/errors";
import { channelTo, createClient } from "@longshore/rpc";
import { connectTtrpc, createTtrpcClient, type TtrpcClientOf } from "@longshore/ttrpc";
import { type Bootstrap, socketPath } from "./bootstrap.ts";

/** The task service of a shim; its versions 2 and 3 differ only in their name. */
export type TaskClient = TtrpcClientOf<TaskDefinition>;

/** A connection to a shim. */
export interface ShimClient {
  readonly task: TaskClient;
  /** Settles when the connection has ended, by us or by the shim. */
  readonly closed: Promise<void>;
  close(): void;
}

/**
 * Connect as the shim's bootstrap answer says.
 * @throws EngineError `unavailable` when nothing listens there
 */
export async function connectShim(bootstrap: Bootstrap): Promise<ShimClient> {
  const path = socketPath(bootstrap.address) ?? bootstrap.address;
  return bootstrap.protocol === "grpc" ? connectGrpc(path, bootstrap) : connectOverTtrpc(path, bootstrap);
}

async function connectOverTtrpc(path: string, { version }: Bootstrap): Promise<ShimClient> {
  const connection = await connectTtrpc(path);
  return {
    task: createTtrpcClient(connection, definition(version)),
    closed: connection.closed,
    close: () => connection.close(),
  };
}

/** gRPC reconnects by itself and tells nobody, so that a plain connection beside it shows the shim's end. */
async function connectGrpc(path: string, { version }: Bootstrap): Promise<ShimClient> {
  const stop = new AbortController();
  const { closed } = await watch(path, stop.signal);
  const channel = channelTo(path);
  const task = createClient(channel, definition(version), { timeoutMs: Number.POSITIVE_INFINITY });
  return {
    task: task as TaskClient,
    closed,
    close() {
      channel.close();
      stop.abort();
    },
  };
}

/**
 * Hold a connection to a socket, and a new one whenever the server ends it for its silence.
 * @returns `closed` settles when nobody listens there any more, or with the signal
 * @throws EngineError `unavailable` when nobody listens now
 */
async function watch(path: string, signal: AbortSignal): Promise<{ closed: Promise<void> }> {
  const first = await connectOnce(path, signal);
  return { closed: untilRefused(path, first, signal) };
}

async function untilRefused(path: string, first: Witness, signal: AbortSignal): Promise<void> {
  let witness = first;
  while (!signal.aborted) {
    await witness.ended;
    if (signal.aborted) return;
    try {
      witness = await connectOnce(path, signal);
    } catch {
      return; // nobody listens: what we were waiting for
    }
  }
}

interface Witness {
  ended: Promise<void>;
}

async function connectOnce(path: string, signal: AbortSignal): Promise<Witness> {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  try {
    const end = () => resolve();
    const socket = await Bun.connect({ unix: path, socket: { data() {}, close: end, end, error: end } });
    signal.addEventListener("abort", () => socket.end(), { once: true });
    return { ended };
  } catch (cause) {
    throw new EngineError("unavailable", `shim socket ${path}: nobody listens`, { cause });
  }
}

function definition(version: number): TaskDefinition {
  return version >= 3 ? (TaskDefinition3 as unknown as TaskDefinition) : TaskDefinition;
}
