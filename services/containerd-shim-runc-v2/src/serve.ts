import { TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import { PR_SET_CHILD_SUBREAPER, prctl, readText, writeControl } from "@longshore/syscalls";
import { serveTtrpc, type TtrpcHandlers } from "@longshore/ttrpc";
import { variables } from "./environment.ts";
import { EventSender } from "./event-sender.ts";
import type { Flags } from "./flags.ts";
import { clientsServed } from "./io/attach-server.ts";
import { configureLog, log } from "./log.ts";
import { dirname, removeIfThere } from "./paths.ts";
import { installReaper } from "./reaper.ts";
import { taskService } from "./service.ts";

/** The listening socket that `start` passes on to another process. */
const LISTENER_FD = 3;
/** How long an end waits for events to be delivered. */
const FAREWELL_MS = 3000;

/** The task service, and the same under its newer name; the messages are alike. */
const DEFINITIONS = [
  TaskDefinition,
  { ...TaskDefinition, fullName: "containerd.task.v3.Task" } as unknown as TaskDefinition,
];

/**
 * Serve the task service at a socket.
 * @param listener descriptor of the listening socket, where `start` made one
 * @returns stops listening, removes the socket, lets the last answer out
 */
export type Listen = (
  definitions: readonly TaskDefinition[],
  handlers: TtrpcHandlers<TaskDefinition>,
  on: { socket: string; listener: number },
) => Promise<() => Promise<void>>;

/**
 * The long-lived process: serves the task until containerd says that it may end.
 * @param listener descriptor of the listening socket at `flags.socket`
 */
export async function serve(
  flags: Flags,
  { listen = listenTtrpc, listener = LISTENER_FD }: { listen?: Listen; listener?: number } = {},
): Promise<number> {
  const bundle = process.cwd();
  configureLog({ file: `${bundle}/log`, debug: flags.debug });
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  adjustOomScore();
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
  const { handlers, killAll } = taskService({
    namespace: flags.namespace,
    socketDirectory: dirname(flags.socket),
    events,
    onLeft(other) {
      // The first one's bundle goes with it, and with that our working directory and log.
      process.chdir(other);
      configureLog({ file: `${other}/log`, debug: flags.debug });
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
  const close = await listen(DEFINITIONS, handlers, { socket: flags.socket, listener });
  await ended.promise;
  await close();
  await events.close(FAREWELL_MS);
  await clientsServed();
  return 0;
}

/** Serve over ttrpc, as containerd expects unless it says otherwise. */
const listenTtrpc: Listen = async (definitions, handlers, { socket, listener }) => {
  const server = serveTtrpc();
  for (const definition of definitions) server.add(definition, handlers);
  server.listen({ fd: listener });
  return async () => {
    removeIfThere(socket);
    await Bun.sleep(10);
    server.close();
  };
};

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
