import { TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import { isErrno } from "@longshore/errors";
import { PR_SET_CHILD_SUBREAPER, prctl, readText, unlink, writeControl } from "@longshore/syscalls";
import { serveTtrpc, type TtrpcHandlers } from "@longshore/ttrpc";
import { EventSender } from "./event-sender.ts";
import type { Flags } from "./flags.ts";
import { configureLog, log } from "./log.ts";
import { dirname } from "./paths.ts";
import { installReaper } from "./reaper.ts";
import { taskService } from "./service.ts";

/** The listening socket that `start` passes on to another process. */
const LISTENER_FD = 3;
/** How long an end waits for events to be delivered. */
const FAREWELL_MS = 3000;

/** The same service under its newer name; the messages are alike. */
const TASK_V3 = { ...TaskDefinition, fullName: "containerd.task.v3.Task" };

/**
 * The long-lived process: serves the task until containerd says that it may end.
 * @param listener descriptor of the listening socket at `flags.socket`
 */
export async function serve(flags: Flags, signal: AbortSignal, listener = LISTENER_FD): Promise<number> {
  const bundle = process.cwd();
  configureLog({ file: `${bundle}/log`, debug: flags.debug });
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  adjustOomScore();
  surviveBugs();
  installReaper();
  const events = new EventSender({
    namespace: flags.namespace,
    bundle,
    ttrpcAddress: process.env.TTRPC_ADDRESS ?? "",
    natsUrl: process.env.LONGSHORE_NATS_URL,
    natsTokenFile: process.env.LONGSHORE_NATS_TOKEN_FILE,
  });
  const ended = Promise.withResolvers<void>();
  const handlers = taskService({
    namespace: flags.namespace,
    socketDirectory: dirname(flags.socket),
    events,
    onShutdown: ended.resolve,
  });
  // containerd decides when a shim ends; a signal to the whole machine's daemons must not take containers with it.
  signal.addEventListener("abort", () => log().info({ reason: String(signal.reason) }, "ignoring a signal"));
  const close = await listen(flags.socket, handlers, listener);
  await ended.promise;
  await close();
  await events.close(FAREWELL_MS);
  return 0;
}

/** @returns stops listening, removes the socket, lets the last answer out */
async function listen(
  socket: string,
  handlers: TtrpcHandlers<TaskDefinition>,
  listener: number,
): Promise<() => Promise<void>> {
  if (process.env.LONGSHORE_SHIM_PROTOCOL === "grpc") {
    const { serve: serveGrpc } = require("@longshore/rpc") as typeof import("@longshore/rpc");
    const server = serveGrpc();
    for (const definition of [TaskDefinition, TASK_V3 as unknown as typeof TaskDefinition]) {
      server.add(definition, handlers as unknown as Parameters<typeof server.add<typeof definition>>[1]);
    }
    await server.listen(socket);
    return async () => {
      removeSocket(socket);
      await server.close();
    };
  }
  const server = serveTtrpc();
  server.add(TaskDefinition, handlers);
  server.add(TASK_V3 as unknown as TaskDefinition, handlers);
  server.listen({ fd: listener });
  return async () => {
    removeSocket(socket);
    await Bun.sleep(10);
    server.close();
  };
}

function removeSocket(socket: string): void {
  try {
    unlink(socket);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
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
