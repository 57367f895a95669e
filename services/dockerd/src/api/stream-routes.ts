import { EngineError } from "@longshore/errors";
import { STDERR, STDOUT } from "@longshore/stdio";
import type { Container } from "../containers/container.ts";
import { emitContainerEvent } from "../containers/container-events.ts";
import { isLeaving, isRunning } from "../containers/container-status.ts";
import { runningStdio } from "../containers/start-container.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall, Hijacked } from "../http/call.ts";
import type { Route } from "../http/server.ts";
import { parseTime } from "../http/time.ts";
import { acceptWebsocket, websocketStreams } from "../http/websocket.ts";
import { droppedLines, readablePath } from "../logs/container-log.ts";
import { FrameWriter } from "../logs/frame-writer.ts";
import { jsonLogType, showJsonEntry } from "../logs/json-log.ts";
import { fullPrecision, type LogEntry, showDetails } from "../logs/log-entry.ts";
import { readLog } from "../logs/read-log.ts";
import { attach } from "../streams/attach.ts";
import { DEFAULT_DETACH_KEYS, parseDetachKeys } from "../streams/detach-keys.ts";
import type { ProcessStdio } from "../streams/process-stdio.ts";

/** How many lines are missing from a log, since the mode `non-blocking` has dropped them. */
const DROPPED_HEADER = "Longshore-Log-Dropped";

/** Attach and logs. */
export function streamRoutes(engine: Engine): Route[] {
  return [
    {
      method: "POST",
      path: "/containers/:id/attach",
      handler: async (call) => {
        try {
          await attachContainer(engine, call);
        } catch (error) {
          if (!(error instanceof EngineError)) throw error;
          call.refuseStream(RAW_STREAM, error);
        }
      },
    },
    {
      method: "GET",
      path: "/containers/:id/attach/ws",
      handler: (call) => attachContainer(engine, call, "websocket"),
    },
    {
      method: "GET",
      path: "/containers/:id/logs",
      handler: (call) => sendLogs(engine, call),
    },
  ];
}

const RAW_STREAM = "application/vnd.docker.raw-stream";

/** Media type of a process's stream; older clients know only one. */
export function streamType(call: ApiCall, terminal: boolean): string {
  if (terminal || !call.atLeast("1.42")) return RAW_STREAM;
  return "application/vnd.docker.multiplexed-stream";
}

async function attachContainer(
  engine: Engine,
  call: ApiCall,
  over: "stream" | "websocket" = "stream",
): Promise<void> {
  const keys = call.query.get("detachKeys");
  const detachKeys = keys ? parseDetachKeys(keys) : DEFAULT_DETACH_KEYS;
  if (!detachKeys) throw new EngineError("invalid_argument", `Invalid detach keys (${keys}) provided`);
  const name = call.param("id");
  const container = engine.containers.find(name);
  const { config, state } = container.record;
  const bare = over === "websocket";
  const stream = call.flag("stream");
  // A websocket once had them all.
  const wants = (name: string) => (bare && !call.atLeast("1.42") ? true : call.flag(name));
  const [stdin, stdout, stderr] = [wants("stdin"), wants("stdout"), wants("stderr")];
  if (state.status === "restarting")
    throw new EngineError("conflict", `container ${name} is restarting, wait until the container is running`);
  if (state.status === "paused") {
    throw new EngineError("conflict", `container ${name} is paused, unpause the container before attach`);
  }
  const log = call.flag("logs") ? readablePath(engine, container.record) : undefined;
  const accepted = bare ? acceptWebsocket(call.request) : undefined;
  // Before the answer: once the client has seen it, it may start the container.
  const stdio = stream ? nextStdio(engine, container, call.signal) : undefined;
  const client = accepted
    ? websocketStreams(call.hijack("", accepted), { text: !call.atLeast("1.28") })
    : call.hijack(streamType(call, config.Tty));
  if (log !== undefined) {
    const entries = readLog(log, { signal: call.signal });
    await writeLog(client, entries, { terminal: config.Tty || bare, stdout, stderr });
  }
  emitContainerEvent(engine, container, "attach");
  const connected = await stdio;
  if (!connected) {
    client.output.end();
    return;
  }
  const end = await attach(connected, client, {
    stdin: stdin && config.OpenStdin,
    stdout,
    stderr,
    terminal: config.Tty,
    bare: bare || config.Tty,
    closeStdin: config.StdinOnce,
    detachKeys,
  });
  if (end === "detached") emitContainerEvent(engine, container, "detach");
}

/** A connection to the process that runs, or to the next that starts; undefined when there is none and won't be. */
async function nextStdio(engine: Engine, container: Container, signal: AbortSignal) {
  if (isRunning(container.record.state.status)) {
    const { stdio: kind } = container.record;
    if (kind !== "") container.stdio ??= runningStdio(engine, container.record, kind);
    return container.stdio ? connect(container.stdio) : undefined;
  }
  return new Promise<Awaited<ReturnType<ProcessStdio["connect"]>> | undefined>((resolve, reject) => {
    const waiter = async (stdio: ProcessStdio | undefined) => {
      signal.removeEventListener("abort", gone);
      if (!stdio) return resolve(undefined);
      try {
        resolve(await connect(stdio));
      } catch (error) {
        reject(error);
      }
    };
    const gone = () => {
      container.startWaiters.delete(waiter);
      resolve(undefined);
    };
    container.startWaiters.add(waiter);
    signal.addEventListener("abort", gone, { once: true });
  });
}

async function connect(stdio: ProcessStdio) {
  try {
    return await stdio.connect();
  } catch (error) {
    if (error instanceof EngineError && error.code === "not_found") return undefined; // its output has ended
    throw error;
  }
}

async function sendLogs(engine: Engine, call: ApiCall): Promise<void> {
  const stdout = call.flag("stdout");
  const stderr = call.flag("stderr");
  if (!stdout && !stderr) {
    throw new EngineError("invalid_argument", "Bad parameters: you must choose at least one stream");
  }
  const json = jsonLogType(call);
  const container = engine.containers.find(call.param("id"));
  const { config } = container.record;
  if (isLeaving(container.record.state.status)) {
    throw new EngineError("conflict", "can not get logs from container which is dead or marked for removal");
  }
  const log = readablePath(engine, container.record);
  const since = call.query.get("since") ?? "";
  const until = call.query.get("until") ?? "";
  const options = {
    tail: parseTail(call.query.get("tail")),
    sinceNano: since === "" || since === "0" ? undefined : parseTime(since),
    untilNano: until === "" || until === "0" ? undefined : parseTime(until),
    signal: call.signal,
    ...(call.flag("follow") && { follow: followOf(container) }),
  };
  const dropped = droppedLines(engine, container.id);
  const output = call.stream(
    json ?? streamType(call, config.Tty),
    dropped > 0 ? { [DROPPED_HEADER]: String(dropped) } : {},
  );
  const client = { input: call.request, output };
  const shown = {
    ...{ terminal: config.Tty, stdout, stderr },
    ...{ timestamps: call.flag("timestamps"), details: call.flag("details"), json },
  };
  await writeLog(client, readLog(log, options), shown);
  if (!call.signal.aborted) output.end();
}

/** Following ends when the process does. */
function followOf(container: Container) {
  return {
    ended: () => !isRunning(container.record.state.status),
    wake: (listener: () => void) => {
      // A restart follows some exits, and more to read.
      const wait = () => {
        listener();
        container.exitWaiters.add(wait);
      };
      container.exitWaiters.add(wait);
      return () => container.exitWaiters.delete(wait);
    },
  };
}

interface ShownLog {
  terminal: boolean;
  stdout: boolean;
  stderr: boolean;
  timestamps?: boolean;
  details?: boolean;
  /** The media type of an answer in JSON. */
  json?: string | undefined;
}

async function writeLog(
  { output }: Hijacked,
  entries: AsyncIterable<LogEntry[]>,
  { terminal, stdout, stderr, timestamps = false, details = false, json }: ShownLog,
): Promise<void> {
  const writer = new FrameWriter(output, { framed: !terminal && json === undefined });
  const show = (entry: LogEntry): string => {
    if (json !== undefined) return showJsonEntry(entry, { type: json, details });
    const text = details ? `${showDetails(entry)} ${entry.text}` : entry.text;
    return timestamps ? `${fullPrecision(entry.time)} ${text}` : text;
  };
  for await (const some of entries) {
    for (const entry of some) {
      const { stream } = entry;
      if (stream === "stdout" ? !stdout : !stderr) continue;
      const full = writer.write(stream === "stdout" ? STDOUT : STDERR, show(entry));
      if (full) await full;
    }
    await writer.flush();
  }
}

/** `all`, or what isn't a number, is everything. */
function parseTail(text: string | null): number | undefined {
  return text !== null && /^[0-9]+$/.test(text) ? Number(text) : undefined;
}
