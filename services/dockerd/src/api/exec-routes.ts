import type { Duplex } from "node:stream";
import { EngineError } from "@longshore/errors";
import { encodeFrame, STDOUT } from "@longshore/stdio";
import { emitContainerEvent } from "../containers/container-events.ts";
import { within } from "../containers/kill-container.ts";
import type { Engine } from "../engine.ts";
import type { Exec } from "../execs/exec.ts";
import { execConfigSchema, execStartSchema } from "../execs/exec-config.ts";
import { checkCommand, checkStartable, createExec, requireUnpaused, startExec } from "../execs/run-exec.ts";
import type { ApiCall } from "../http/call.ts";
import type { Route } from "../http/server.ts";
import { attach } from "../streams/attach.ts";
import { DEFAULT_DETACH_KEYS } from "../streams/detach-keys.ts";
import { streamType } from "./stream-routes.ts";

/** How long the end of the output waits for the exit status, so that a client that asks next is told. */
const EXIT_WAIT_MS = 5000;
/** How long a new size waits for the process that has the terminal. */
const START_WAIT_MS = 10_000;
const CONSOLE_SIZE_SINCE = "1.42";

/** Operations on execs. */
export function execRoutes(engine: Engine): Route[] {
  return [
    {
      method: "POST",
      path: "/containers/:id/exec",
      handler: async (call) => {
        const config = await call.body(execConfigSchema);
        checkCommand(config);
        if (!call.atLeast(CONSOLE_SIZE_SINCE)) config.ConsoleSize = undefined;
        const container = engine.containers.find(call.param("id"));
        const exec = await createExec(engine, container, config, call.param("id"));
        call.json(201, { Id: exec.id });
      },
    },
    {
      method: "POST",
      path: "/exec/:id/start",
      handler: (call) => start(engine, call),
    },
    {
      method: "POST",
      path: "/exec/:id/resize",
      handler: async (call) => {
        const size = { height: call.wholeNumber("h"), width: call.wholeNumber("w") };
        const exec = engine.execs.find(call.param("id"));
        requireUnpaused(exec.container, exec.container.id);
        // A client asks for it as soon as it has asked for the start.
        if (!(await within(exec.settled, START_WAIT_MS)))
          throw new EngineError("internal", "timeout waiting for exec session ready");
        if (exec.status !== "running") throw new EngineError("conflict", `exec ${exec.id} is not running`);
        await engine.containerd.tasks.resizePty({
          containerId: exec.container.id,
          execId: exec.id,
          ...size,
        });
        call.empty(200);
      },
    },
    {
      method: "GET",
      path: "/exec/:id/json",
      handler: (call) => call.json(200, inspect(engine.execs.find(call.param("id")))),
    },
  ];
}

async function start(engine: Engine, call: ApiCall): Promise<void> {
  const { Detach, Tty, ConsoleSize } = await call.body(execStartSchema);
  const exec = engine.execs.find(call.param("id"));
  const { config } = exec;
  const size = (Tty && call.atLeast(CONSOLE_SIZE_SINCE) && ConsoleSize) || undefined;
  if (Detach) {
    await startExec(engine, exec, size, async () => {});
    call.empty(200);
    return;
  }
  const detachKeys = exec.detachKeys ?? DEFAULT_DETACH_KEYS;
  checkStartable(exec);
  // Whether the output comes in frames is up to who starts it, whatever the process has.
  const client = call.hijack(streamType(call, Tty));
  let process: Duplex | undefined;
  try {
    await startExec(engine, exec, size, async (stdio) => {
      process = await stdio.connect();
    });
  } catch (error) {
    process?.destroy();
    // The answer has begun: Docker's client reads why from the stream, and the exit status as ever.
    const message = Buffer.from(`${error instanceof Error ? error.message : String(error)}\r\n`);
    client.output.end(Tty ? message : encodeFrame(STDOUT, message));
    return;
  }
  if (!process) throw new EngineError("internal", `exec ${exec.id} has no output`);
  const options = {
    stdin: config.AttachStdin,
    stdout: config.AttachStdout,
    stderr: config.AttachStderr,
    terminal: config.Tty,
    bare: Tty,
    closeStdin: true,
    detachKeys,
  };
  // The client asks for the exit status as soon as the stream ends.
  const settled = () => Promise.race([exec.ended, Bun.sleep(EXIT_WAIT_MS)]);
  const end = await attach(process, client, options, settled);
  if (end === "detached") emitContainerEvent(engine, exec.container, "exec_detach", { execID: exec.id });
}

function inspect({ id, config, container, detachKeys, exitCode, pid, status }: Exec): object {
  const [entrypoint = "", ...args] = config.Cmd;
  const user = config.User || container.record.config.User;
  return {
    ID: id,
    Running: status === "running",
    ExitCode: exitCode,
    ProcessConfig: {
      tty: config.Tty,
      entrypoint,
      arguments: args,
      privileged: config.Privileged,
      ...(user !== "" && { user }),
    },
    OpenStdin: config.AttachStdin,
    OpenStderr: config.AttachStderr,
    OpenStdout: config.AttachStdout,
    CanRemove: false, // Docker's, of those that it forgets within the next minutes
    ContainerID: container.id,
    // Bytes, as Go writes them.
    DetachKeys: detachKeys?.toString("base64") ?? "",
    Pid: pid,
  };
}
