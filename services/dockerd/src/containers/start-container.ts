import path from "node:path";
import { type Process, Status } from "@longshore/api/containerd/types/task/task";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError, errorCode, toEngineError } from "@longshore/errors";
import { chooseShim, type ShimChoice } from "../config/runtimes.ts";
import { jsonAny, SPEC_TYPE } from "../containerd/any.ts";
import { type ContainerdClient, SNAPSHOTTER } from "../containerd/client.ts";
import { toTimestamp } from "../containerd/timestamp.ts";
import { type Engine, ioDir } from "../engine.ts";
import { newHealth } from "../health/health.ts";
import { healthPlan } from "../health/healthcheck.ts";
import { monitorHealth } from "../health/monitor-health.ts";
import { linkHosts, linkVariables, refreshLinks } from "../links/container-links.ts";
import { outputsOf, prepareLogger } from "../logs/container-log.ts";
import { etcFiles } from "../networks/etc-files.ts";
import { joinNetwork, planNetwork } from "../networks/join-network.ts";
import { generateSpec } from "../spec/generate-spec.ts";
import { findInit, wantsInit } from "../spec/init-process.ts";
import { layersOf, readUserFiles } from "../spec/layered-root.ts";
import { fifoHooks } from "../streams/fifo-hooks.ts";
import { fifoStdio } from "../streams/fifo-stdio.ts";
import type { ProcessStdio } from "../streams/process-stdio.ts";
import { socketStdio } from "../streams/socket-stdio.ts";
import { appArmorProfileOf, ensureProfile } from "../system/app-armor.ts";
import { startUsers } from "../userns/start-users.ts";
import { isRemapped, type UserNamespace } from "../userns/user-namespaces.ts";
import { checkSources, startMounts } from "../volumes/start-mounts.ts";
import { tellMounts, unmountVolumes } from "../volumes/volume-events.ts";
import type { Container, ContainerRecord } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { updateState } from "./container-record.ts";
import { isLeaving, nextStatus } from "./container-status.ts";
import { killTask } from "./kill-task.ts";
import { joinNamespaces } from "./namespace-modes.ts";
import { removeContainer } from "./remove-container.ts";
import { mountSharedMemory, sharedMemoryDir, unmountSharedMemory } from "./shared-memory.ts";
import { byRuntime, startFailure } from "./start-failure.ts";

/** How long a start waits for a containerd that went in the middle of it. */
const OUTAGE_MS = 10_000;
const OUTAGE_RETRY_MS = 50;

/**
 * Start a container: its network, containerd's container and task, then the process itself. Streams that wait for the
 * start are connected before the process runs.
 *
 * @returns false when it runs already
 * @throws EngineError as Docker tells of it; nothing of the task is left then, and a `--rm` container is removed. A bind whose source
 *   isn't there is refused like a wrong request: the container stays as it is
 */
export function startContainer(engine: Engine, container: Container): Promise<boolean> {
  return container.lock.run(async () => {
    const { status } = container.record.state;
    if (status === "running" || status === "restarting") return false;
    if (status === "paused")
      throw new EngineError("conflict", "cannot start a paused container, try unpause instead");
    if (isLeaving(status))
      throw new EngineError("conflict", "container is marked for removal and cannot be started");
    await engine.store.check();
    checkSources(container.record);
    try {
      container.backOff = undefined;
      await launch(engine, container, { restartCount: 0 });
      return true;
    } catch (error) {
      return failStart(engine, container, error);
    }
  });
}

/** Take in that a container can't be started, for a caller that holds its lock. @throws EngineError as Docker tells of it */
export async function failStart(engine: Engine, container: Container, error: unknown): Promise<never> {
  const { exitCode, failure } = startFailure(error, container.record.state.exitCode);
  const status = nextStatus(container.record.state.status, "startFailed");
  try {
    await updateState(engine, container, { status, exitCode, error: failure.message });
  } catch (error) {
    // What the store has of it is true all the same: that it doesn't run.
    engine.log.warn({ id: container.id, err: error }, "saving that a container can't be started");
  }
  await dropStartWaiters(container);
  emitContainerEvent(engine, container, "die", { exitCode: String(exitCode), execDuration: "0" });
  container.tellExit();
  if (container.record.hostConfig.AutoRemove) {
    await removeContainer(engine, container, { locked: true, volumes: true });
  }
  throw failure;
}

/**
 * Start a container whose lock the caller holds; what fails is undone.
 * @param started what is noted of it once it runs
 */
export async function launch(
  engine: Engine,
  container: Container,
  started: Partial<ContainerRecord> = {},
): Promise<void> {
  const { containerd } = engine;
  const { id } = container;
  const begun = performance.now();
  await using undo = new AsyncDisposableStack();
  const network = planNetwork(engine, container.record);
  const { shmOf, ...joinedPaths } = joinNamespaces(engine.containers, container.record.hostConfig);
  using users = startUsers(engine, container.record.hostConfig);
  const sandboxId = network?.sandboxId ?? "";
  const rootfs =
    container.rootfs ?? (await containerd.snapshots.mounts({ snapshotter: SNAPSHOTTER, key: id })).mounts;
  container.rootfs = rootfs;
  const shown = users && engine.userns?.shown;
  undo.defer(() => unmountVolumes(engine, container));
  using mounting = await startMounts(engine, container.record, shown);
  undo.defer(() => unmountSharedMemory(engine, id));
  mountSharedMemory(engine, container.record);
  const shmOwner = shmOf ?? (container.record.hostConfig.IpcMode === "shareable" ? id : undefined);
  const appArmorProfile = appArmorProfileOf(container.record.hostConfig);
  if (appArmorProfile !== undefined) await ensureProfile(appArmorProfile);
  const spec = generateSpec(container.record, {
    cgroupDriver: engine.flags.cgroupDriver,
    cgroupParent: engine.flags.cgroupParent,
    etc: etcFiles(engine, container.record),
    netns: network?.netnsPath,
    ...joinedPaths,
    shm: shmOwner === undefined ? undefined : sharedMemoryDir(engine, shmOwner),
    users,
    userFiles: readUserFiles(layersOf(rootfs)),
    appArmorProfile,
    mounts: mounting.mounts,
    variables: linkVariables(engine, container.record),
    defaults: engine.flags.defaults,
    init: wantsInit(container.record.hostConfig, engine.flags) ? findInit(engine.flags) : undefined,
  });
  const { rlimits = [], noNewPrivileges = false } = spec.process ?? {};

  undo.defer(() => quiet(containerd.containers.delete({ id })));
  if (sandboxId !== "") undo.defer(() => engine.networks.releaseSandbox(sandboxId));
  const [joined] = await settle([
    joinNetwork(engine, container.record, {
      plan: network,
      ...(users && { userNamespace: users.fd }),
      links: linkHosts(engine, container.record),
    }),
    createContainerdContainer(engine, container.record, jsonAny(SPEC_TYPE, spec)),
  ]);

  await prepareLogger(engine, container.record);
  const io = undo.use(
    await byRuntime(createTask(engine, container, shown)).catch((error: unknown) => {
      // It may have gone in the middle of it, and the shim then goes on.
      if (errorCode(error) === "unavailable") container.mayHaveTask = true;
      throw error;
    }),
  );
  undo.defer(() => undoTask(engine, container));
  container.stdio = io;
  for (const waiter of container.startWaiters) await waiter(io);
  container.startWaiters.clear();
  container.stopRequested = false;
  container.replacing = false;
  // Before it runs: clients ask for the log since then.
  const startedAt = new Date().toISOString();
  const pid = await byRuntime(startTask(engine, id));
  io.started();
  // A start that can't be saved is taken back, too.
  const before = container.record;
  undo.defer(() => {
    container.record = before;
  });
  await updateState(
    engine,
    container,
    {
      status: nextStatus(container.record.state.status, "start"),
      pid,
      exitCode: 0,
      error: "",
      oomKilled: false,
      startedAt,
      health: healthPlan(container.record.config) && newHealth(),
    },
    {
      ...started,
      manuallyStopped: false,
      stdio: io.kind,
      sandboxId,
      bounds: { rlimits, noNewPrivileges },
      ...joined,
    },
  );
  undo.move();
  engine.metrics.observeStart((performance.now() - begun) / 1000);
  refreshLinks(engine, container);
  tellMounts(engine, container);
  emitContainerEvent(engine, container, "start");
  monitorHealth(engine, container);
}

/**
 * Start the init process. Should containerd end while it is asked, the shim does all the same what it was told; so once containerd is
 * back its answer is looked up.
 */
async function startTask({ containerd }: Engine, containerId: string): Promise<number> {
  const deadline = performance.now() + OUTAGE_MS;
  for (let wasLost = false; ; ) {
    try {
      return (await containerd.tasks.start({ containerId, execId: "" })).pid;
    } catch (error) {
      const isLost = errorCode(error) === "unavailable" && performance.now() < deadline;
      if (!isLost && !wasLost) throw error;
      wasLost = true;
      const process = await startedTask(containerd, containerId, deadline);
      if (process && process.status !== Status.CREATED) return process.pid;
      if (!isLost) throw error;
    }
  }
}

/** What became of a task; undefined when containerd doesn't know it, or doesn't come back. */
async function startedTask(
  { tasks }: ContainerdClient,
  containerId: string,
  deadline: number,
): Promise<Process | undefined> {
  for (;;) {
    try {
      return (await tasks.get({ containerId, execId: "" })).process;
    } catch (error) {
      if (errorCode(error) !== "unavailable" || performance.now() > deadline) return undefined;
    }
    await Bun.sleep(OUTAGE_RETRY_MS);
  }
}

/** Take a task back; what containerd is not there to do is done when it is. */
async function undoTask(engine: Engine, container: Container): Promise<void> {
  try {
    await killTask(engine, container.id);
  } catch (error) {
    container.mayHaveTask = true;
    engine.log.warn({ id: container.id, err: error }, "taking a task back");
  }
}

async function createContainerdContainer(engine: Engine, record: ContainerRecord, spec: Any): Promise<void> {
  const create = () =>
    engine.containerd.containers.create({
      container: {
        id: record.id,
        labels: {},
        image: "",
        runtime: shimOf(engine, record),
        spec,
        snapshotter: SNAPSHOTTER,
        snapshotKey: record.id,
        createdAt: toTimestamp(new Date()),
        updatedAt: undefined,
        extensions: {},
        sandbox: "",
      },
    });
  try {
    await create();
  } catch (error) {
    if (errorCode(error) !== "already_exists") throw error;
    // Left behind by a start that this daemon, or the one before it, could not finish.
    await killTask(engine, record.id);
    await engine.containerd.containers.delete({ id: record.id });
    await create();
  }
}

/** Create the task with the stdio that its shim understands: ours first, FIFOs for a real containerd's. */
async function createTask(
  engine: Engine,
  container: Container,
  shown: UserNamespace | undefined,
): Promise<ProcessStdio> {
  const { runtime } = container.record;
  if (!engine.fifoRuntimes.has(runtime)) {
    const io = containerStdio(engine, container.record, "longshore");
    try {
      await requestTask(engine, container, io, shown);
      return io;
    } catch (error) {
      await io[Symbol.asyncDispose]();
      if (shown && (refusesScheme(error) || refusesMapping(error))) throw noMapping(runtime);
      if (!refusesScheme(error)) throw noTask(error);
      engine.log.info({ runtime }, "the shim doesn't know longshore:// stdio, using FIFOs");
      engine.fifoRuntimes.add(runtime);
    }
  }
  if (shown) throw noMapping(runtime);
  const io = containerStdio(engine, container.record, "fifo");
  try {
    await requestTask(engine, container, io, undefined);
    return io;
  } catch (error) {
    await io[Symbol.asyncDispose]();
    throw noTask(error);
  }
}

/** The stdio of an init process that runs since before this daemon did. */
export function runningStdio(
  engine: Engine,
  record: ContainerRecord,
  kind: "longshore" | "fifo",
): ProcessStdio {
  const io = containerStdio(engine, record, kind);
  io.started();
  return io;
}

/** The stdio of a container's init process. */
function containerStdio(engine: Engine, record: ContainerRecord, kind: "longshore" | "fifo"): ProcessStdio {
  const { id, config } = record;
  const shared = { stdin: config.OpenStdin, terminal: config.Tty, ...outputsOf(engine, record) };
  const directory = ioDir(engine, id);
  if (kind === "fifo") return fifoStdio({ ...shared, ...fifoHooks(engine, id, ""), directory, name: "init" });
  return socketStdio({ ...shared, socketPath: path.join(directory, "init") });
}

/** With the words that Docker puts before the runtime's. */
function noTask(error: unknown): EngineError {
  const { code, message } = toEngineError(error);
  return new EngineError(code, `failed to create task for container: ${message}`, { cause: error });
}

/** A real shim's answer to a stdio scheme that it doesn't know; no code tells it apart. */
function refusesScheme(error: unknown): boolean {
  return error instanceof Error && /unknown STDIO scheme|unsupported stdio scheme/i.test(error.message);
}

/** A real shim gives the option to the kernel, and says with which options that has failed; ours never does. */
function refusesMapping(error: unknown): boolean {
  return error instanceof Error && error.message.includes(MAPPING_OPTION);
}

function noMapping(runtime: string): EngineError {
  return new EngineError("failed_precondition", `userns-remap needs a shim that runtime ${runtime} has not`);
}

/** A mount option of our shim's: with whose ids the root's layers are shown. */
const MAPPING_OPTION = "X-longshore.userns=";

async function requestTask(
  engine: Engine,
  container: Container,
  io: ProcessStdio,
  shown: UserNamespace | undefined,
): Promise<void> {
  const rootfs = container.rootfs ?? [];
  await engine.containerd.tasks.create({
    containerId: container.id,
    rootfs: shown
      ? rootfs.map((mount) => ({ ...mount, options: [...mount.options, MAPPING_OPTION + shown.path] }))
      : rootfs,
    ...io.uris,
    terminal: container.record.config.Tty,
    checkpoint: undefined,
    options: shimOf(engine, container.record).options,
    runtimePath: "",
    taskApiAddress: "",
    taskApiVersion: 0,
  });
}

function shimOf({ flags, userns }: Engine, { runtime, hostConfig }: ContainerRecord): ShimChoice {
  return chooseShim(runtime, { ...flags, ...(isRemapped(userns, hostConfig) && { ioOwner: userns.root }) });
}

/** Tell streams that wait for the start that there will be none. */
export async function dropStartWaiters(container: Container): Promise<void> {
  const waiters = [...container.startWaiters];
  container.startWaiters.clear();
  for (const waiter of waiters) await waiter(undefined);
}

/** Wait for all, then throw the first failure: nothing may still be under way when the undo begins. */
async function settle<A, B>(work: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

async function quiet(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (errorCode(error) !== "not_found") return; // the step is one of an undo: the first error is what counts
  }
}
