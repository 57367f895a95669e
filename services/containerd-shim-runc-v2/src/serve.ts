import { TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import {
  blockSignals,
  PR_SET_CHILD_SUBREAPER,
  prctl,
  readText,
  unblockSignals,
  writeControl,
} from "@longshore/syscalls";
import { type SuspendedServer, serveTtrpc, type TtrpcHandlers } from "@longshore/ttrpc";
import { environmentToKeep, variables } from "./environment.ts";
import { EventSender } from "./event-sender.ts";
import type { Flags } from "./flags.ts";
import { clientsServed, hasClients } from "./io/attach-server.ts";
import { sleeping } from "./load.ts";
import { configureLog, log } from "./log.ts";
import { dirname, removeIfThere } from "./paths.ts";
import { installReaper, onlyContainersRun, reap } from "./reaper.ts";
import { sleepWhenQuiet, stir } from "./rest.ts";
import { taskService } from "./service.ts";
import { QUIET_MS, quietAfter, SIGNALS, type SleepState } from "./sleep-state.ts";

/** The listening socket that `start` passes on to another process. */
const LISTENER_FD = 3;
/** How long an end waits for events to be delivered. */
const FAREWELL_MS = 3000;
/** After more a timer would be due at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The task service, and the same under its newer name; the messages are alike. */
const DEFINITIONS = [
  TaskDefinition,
  { ...TaskDefinition, fullName: "containerd.task.v3.Task" } as unknown as TaskDefinition,
];

/**
 * Serve the task service at a socket.
 * @param listener descriptor of the listening socket, where `start` made one
 */
export type Listen = (
  definitions: readonly TaskDefinition[],
  handlers: TtrpcHandlers<TaskDefinition>,
  on: { socket: string; listener: number; suspended?: SuspendedServer | undefined },
) => Promise<Listening>;

export interface Listening {
  /** Stop listening, remove the socket, let the last answer out. */
  close(): Promise<void>;
  /** What another program needs to go on with it; undefined while something is under way. */
  suspend?(): SuspendedServer | undefined;
}

export interface ServeOptions {
  listen?: Listen;
  /** Descriptor of the listening socket at `flags.socket`. */
  listener?: number;
  /** What there was when this process fell asleep. */
  slept?: SleepState;
}

/** The long-lived process: serves the task until containerd says that it may end. */
export async function serve(
  flags: Flags,
  { listen = listenTtrpc, listener = LISTENER_FD, slept }: ServeOptions = {},
): Promise<number> {
  let bundle = slept?.bundle ?? process.cwd();
  configureLog({ file: `${bundle}/log`, debug: flags.debug });
  if (!slept) {
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    adjustOomScore();
  }
  surviveBugs();
  installReaper();
  const given = variables();
  const events = new EventSender({
    namespace: flags.namespace,
    ttrpcAddress: given.get("TTRPC_ADDRESS") ?? "",
    natsUrl: given.get("LONGSHORE_NATS_URL"),
    natsTokenFile: given.get("LONGSHORE_NATS_TOKEN_FILE"),
    queueFile: given.get("LONGSHORE_EVENT_QUEUE") || `${bundle}/events.queue`,
  });
  const ended = Promise.withResolvers<void>();
  const { handlers, killAll, suspend, resume } = taskService({
    namespace: flags.namespace,
    socketDirectory: dirname(flags.socket),
    events,
    onLeft(other) {
      // The first one's bundle goes with it, and with that our working directory and log.
      bundle = other;
      process.chdir(bundle);
      configureLog({ file: `${bundle}/log`, debug: flags.debug });
    },
    onShutdown: ended.resolve,
  });
  let stopping = false;
  const stop = async (name: string) => {
    if (stopping) return;
    stopping = true;
    log().info({ reason: `received ${name}` }, "ending with the container");
    await killAll().catch((error) => log().error({ err: error }, "can't kill the container"));
    // containerd hears of the exit, and mostly takes the task away and asks to end. It would clean up after us all the same.
    await Bun.sleep(FAREWELL_MS);
    ended.resolve();
  };
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => void stop(name));
  if (slept) resume(slept.tasks);
  const on = { socket: flags.socket, listener, suspended: slept?.server };
  const listening = await listen(DEFINITIONS, handlers, on);
  if (slept) {
    unblockSignals(Object.values(SIGNALS));
    reap();
  }
  const wanted = quietMs(given, slept);
  if (wanted > 0 && listening.suspend) {
    let canSleep = true;
    const state = () => {
      if (!canSleep || stopping || !onlyContainersRun() || hasClients() || !events.isAtRest) return undefined;
      const [server, tasks] = [listening.suspend?.(), suspend()];
      return server && tasks && { flags, bundle, server, tasks, quietMs: wanted };
    };
    sleepWhenQuiet(wanted, () => {
      if (!state()) return;
      // From here on signals wait until we are awake, whoever that is. Those that came before are heard first.
      blockSignals(Object.values(SIGNALS));
      setImmediate(() => {
        const last = state();
        if (last) canSleep = fallAsleep(last);
        unblockSignals(Object.values(SIGNALS));
      });
    });
  }
  await ended.promise;
  await listening.close();
  await events.close(FAREWELL_MS);
  await clientsServed();
  return 0;
}

/** Serve over ttrpc, as containerd expects unless it says otherwise. */
const listenTtrpc: Listen = async (definitions, handlers, { socket, listener, suspended }) => {
  const server = serveTtrpc({ onActivity: stir });
  for (const definition of definitions) server.add(definition, handlers);
  if (suspended) server.resume(suspended);
  else server.listen({ fd: listener });
  return {
    async close() {
      removeIfThere(socket);
      await Bun.sleep(10);
      server.close();
    },
    suspend: () => server.suspend(["Wait"]),
  };
};

/** How long nothing must happen before this process sleeps; 0: it never does. */
function quietMs(given: Map<string, string>, slept: SleepState | undefined): number {
  const asked = Math.min(Number(given.get("LONGSHORE_SHIM_SLEEP_MS") ?? QUIET_MS), LONGEST_TIMER_MS);
  return slept ? quietAfter(slept, asked, Date.now()) : asked;
}

/** Returns when something has happened just now, or it can't be done: then false. */
function fallAsleep(state: Pick<SleepState, "flags" | "bundle" | "server" | "tasks" | "quietMs">): boolean {
  const commandLine = readText("/proc/self/cmdline").replace(/\0+$/, "").split("\0");
  try {
    const { sleep } = sleeping();
    sleep({ ...state, commandLine, environment: environmentToKeep(), since: Date.now() });
    return true;
  } catch (error) {
    log().warn({ err: error }, "can't sleep");
    return false;
  }
}

/** A bug in one call or one stream must not take the container's parent with it. */
function surviveBugs(): void {
  process.on("uncaughtException", (error) => log().error({ err: error }, "unexpected"));
  process.on("unhandledRejection", (error) => log().error({ err: error }, "unexpected"));
}

/** A little likelier to be killed than containerd, which started us, and far less than the container. */
function adjustOomScore(): void {
  const file = "/proc/self/oom_score_adj";
  const score = Number(readText(file));
  writeControl(file, String(Math.min(score + 1, 1000)));
}
