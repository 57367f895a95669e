import path from "node:path";
import { EngineError, errorCode } from "@longshore/errors";
import type { Process, User } from "@longshore/oci";
import { jsonAny, PROCESS_TYPE } from "../containerd/any.ts";
import { SNAPSHOTTER } from "../containerd/client.ts";
import type { Container } from "../containers/container.ts";
import { announceContainerEvent, emitContainerEvent } from "../containers/container-events.ts";
import { requireRunning } from "../containers/container-status.ts";
import { newId } from "../containers/names.ts";
import { byRuntime, CANNOT_INVOKE, startFailure } from "../containers/start-failure.ts";
import { type Engine, ioDir } from "../engine.ts";
import { runningLinkVariables } from "../links/container-links.ts";
import { capabilitiesOf } from "../spec/capabilities.ts";
import { mergeEnv, processEnv } from "../spec/environment.ts";
import { processBounds } from "../spec/generate-spec.ts";
import { layersOf, readUserFiles } from "../spec/layered-root.ts";
import { resolveUser } from "../spec/user.ts";
import { fifoHooks } from "../streams/fifo-hooks.ts";
import { fifoStdio } from "../streams/fifo-stdio.ts";
import type { ProcessStdio } from "../streams/process-stdio.ts";
import { socketStdio } from "../streams/socket-stdio.ts";
import { appArmorProfileOf, ensureProfile } from "../system/app-armor.ts";
import { Exec } from "./exec.ts";
import type { ExecConfig } from "./exec-config.ts";

/**
 * @param shown how the client calls the container
 * @throws EngineError `conflict` unless the container runs and isn't paused, `invalid_argument` without a command or for a user
 *   that the container doesn't know
 */
export async function createExec(
  engine: Engine,
  container: Container,
  config: ExecConfig,
  shown: string = container.id,
): Promise<Exec> {
  checkCommand(config);
  requireUnpaused(container, shown);
  if (config.User !== "") await userOf(engine, container, config);
  const exec = new Exec(newId(), container, config);
  engine.execs.add(exec);
  tellCommand(engine, exec, "exec_create");
  return exec;
}

/** @throws EngineError `invalid_argument`, in Docker's words */
export function checkCommand({ Cmd }: ExecConfig): void {
  if (Cmd.length === 0) throw new EngineError("invalid_argument", "No exec command specified");
}

/** @throws EngineError `conflict`, in Docker's words, when it doesn't run or is paused */
export function requireUnpaused({ id, record }: Container, shown: string): void {
  requireRunning(id, record.state.status);
  if (record.state.status !== "paused") return;
  throw new EngineError("conflict", `Container ${shown} is paused, unpause the container before exec`);
}

/** @throws EngineError `conflict` when it was started before, or its container has stopped or is paused */
export function checkStartable(exec: Exec): void {
  const { container } = exec;
  requireUnpaused(container, container.id);
  if (exec.status === "ended") {
    throw new EngineError("conflict", `Error: Exec command ${exec.id} has already run`);
  }
  if (exec.status === "running")
    throw new EngineError("conflict", `Error: Exec command ${exec.id} is already running`);
}

/**
 * Start an exec's process.
 * @param connect is given the stdio after it exists and before the process runs
 * @throws EngineError `conflict` when it was started before, or its container has stopped; as Docker tells of a command
 *   that can't be run
 */
export async function startExec(
  engine: Engine,
  exec: Exec,
  consoleSize: readonly [number, number] | undefined,
  connect: (stdio: ProcessStdio) => Promise<void>,
): Promise<void> {
  const { container } = exec;
  const { tasks } = engine.containerd;
  checkStartable(exec);
  exec.status = "running";
  tellCommand(engine, exec, "exec_start");

  await using undo = new AsyncDisposableStack();
  const stdio = undo.use(execStdio(engine, exec));
  const ids = { containerId: container.id, execId: exec.id };
  try {
    const spec = await processSpec(engine, exec, consoleSize);
    await byRuntime(
      tasks.exec({ ...ids, ...stdio.uris, terminal: exec.config.Tty, spec: jsonAny(PROCESS_TYPE, spec) }),
    );
    undo.defer(() => tasks.deleteProcess(ids).then(noop, noop));
    await connect(stdio);
    exec.stdio = stdio;
    const { pid } = await byRuntime(tasks.start(ids));
    exec.runs(pid);
    stdio.started();
    undo.move();
  } catch (error) {
    const { exitCode, failure } = startFailure(error, CANNOT_INVOKE);
    exec.end(exitCode);
    throw new EngineError(failure.code, execFailure(failure.message), { cause: error });
  }
}

/** Take in that an exec's process has ended; told twice, the second time does nothing. */
export async function handleExecExit(engine: Engine, exec: Exec, exitCode: number): Promise<void> {
  if (!exec.end(exitCode)) return;
  const { container } = exec;
  tellExec(engine, exec, "exec_die", { exitCode: String(exitCode) });
  try {
    await engine.containerd.tasks.deleteProcess({ containerId: container.id, execId: exec.id });
  } catch (error) {
    if (errorCode(error) !== "not_found")
      engine.log.warn({ id: exec.id, err: error }, "deleting the exec process");
  }
  await exec.stdio?.[Symbol.asyncDispose]();
}

/** An exec's event with its command: the program, a space, and the arguments, whether there are any or not. */
export function tellCommand(engine: Engine, exec: Exec, what: "exec_create" | "exec_start"): void {
  const [program, ...args] = exec.config.Cmd;
  tellExec(engine, exec, `${what}: ${program} ${args.join(" ")}`);
}

/** Of probes only who listens just now hears: they would drive all else from the history. */
export function tellExec(
  engine: Engine,
  { id, container, isProbe }: Exec,
  action: string,
  attributes: Record<string, string> = {},
): void {
  const tell = isProbe ? announceContainerEvent : emitContainerEvent;
  tell(engine, container, action, { execID: id, ...attributes });
}

function execStdio(engine: Engine, { id, config, container }: Exec): ProcessStdio {
  const directory = ioDir(engine, container.id);
  // The whole id would make the socket's path too long.
  const name = id.slice(0, 16);
  const shared = { stdin: config.AttachStdin, terminal: config.Tty };
  if (container.record.stdio === "fifo") {
    return fifoStdio({ ...shared, ...fifoHooks(engine, container.id, id), directory, name });
  }
  return socketStdio({ ...shared, socketPath: path.join(directory, name) });
}

async function processSpec(
  engine: Engine,
  { config, container }: Exec,
  consoleSize: readonly [number, number] | undefined,
): Promise<Process> {
  const { record } = container;
  const { CapAdd, CapDrop, Privileged } = record.hostConfig;
  const user = await userOf(engine, container, config);
  // A privileged exec has its container's profile as well.
  const apparmorProfile = appArmorProfileOf(record.hostConfig);
  if (apparmorProfile !== undefined) await ensureProfile(apparmorProfile);
  const capabilities = capabilitiesOf({
    add: CapAdd,
    drop: CapDrop,
    privileged: Privileged || config.Privileged,
  });
  const [height, width] = consoleSize ?? config.ConsoleSize ?? [0, 0];
  return {
    terminal: config.Tty,
    ...(config.Tty && height > 0 && width > 0 && { consoleSize: { height, width } }),
    user,
    args: config.Cmd,
    env: processEnv({
      env: mergeEnv(mergeEnv(runningLinkVariables(engine, record), record.config.Env), config.Env),
      hostname: record.config.Hostname,
      terminal: config.Tty,
    }),
    cwd: config.WorkingDir || record.config.WorkingDir || "/",
    capabilities: {
      bounding: capabilities,
      permitted: capabilities,
      effective: capabilities,
      inheritable: [],
      ambient: [],
    },
    // Also of an exec that is privileged: only its capabilities are others.
    ...(record.bounds ?? processBounds(record.hostConfig, engine.flags.defaults)),
    ...(apparmorProfile && { apparmorProfile }),
  };
}

/** @throws EngineError `invalid_argument` in Docker's words for who isn't in the container's files */
async function userOf(engine: Engine, container: Container, { User: own }: ExecConfig): Promise<User> {
  const { config, hostConfig } = container.record;
  container.rootfs ??= (
    await engine.containerd.snapshots.mounts({ snapshotter: SNAPSHOTTER, key: container.id })
  ).mounts;
  return resolveUser(own || config.User, readUserFiles(layersOf(container.rootfs)), hostConfig.GroupAdd);
}

function noop(): void {}

/** Docker says "exec failed" of what the runtime couldn't do. */
function execFailure(message: string): string {
  return message.replace(/^failed to (create|exec)[^:]*: (?=OCI runtime)/, "");
}
