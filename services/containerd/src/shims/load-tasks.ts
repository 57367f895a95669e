import fs from "node:fs";
import path from "node:path";
import { Status } from "@longshore/api/containerd/types/task/task";
import { errorCode, isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import type { ShimOutbox } from "../events/shim-outbox.ts";
import { timestampNow } from "../timestamp.ts";
import { type Bootstrap, readBootstrap } from "./bootstrap.ts";
import { Bundle, type BundleDirs, removeBundleTree } from "./bundle.ts";
import { readExitRecords, wasTold } from "./exit-record.ts";
import type { ExitReporter } from "./exit-reporter.ts";
import { connectShim, type ShimClient } from "./shim-client.ts";
import { followShimLog } from "./shim-log.ts";
import { Task } from "./task.ts";
import type { TaskManager } from "./task-manager.ts";

/** How long a shim may take to say how its container is, as in the original. */
const LOAD_TIMEOUT_MS = 5000;

/** Shims asked at the same time. */
const PARALLEL = 64;

export interface LoadDeps {
  dirs: BundleDirs;
  manager: TaskManager;
  exits: ExitReporter;
  outbox: ShimOutbox;
  log: Logger;
}

/**
 * Find the shims that an earlier daemon left, and take charge of them; clean up after those that have died since. A shim that is there
 * but does not answer is kept: its container may well be running.
 */
export async function loadTasks(deps: LoadDeps): Promise<void> {
  const waiting = findBundles(deps.dirs);
  const worker = async () => {
    for (let bundle = waiting.pop(); bundle; bundle = waiting.pop()) await loadOne(bundle, deps);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, waiting.length) }, worker));
  deps.outbox.adoptStrays((namespace, queue) => deps.manager.usesQueue(namespace, queue));
  removeStrayWork(deps);
}

async function loadOne(bundle: Bundle, deps: LoadDeps): Promise<void> {
  const log = deps.log.child({ namespace: bundle.namespace, id: bundle.id });
  try {
    if (bundle.isEmpty()) {
      bundle.remove();
      return;
    }
    const binary = bundle.recordedShim();
    const bootstrap = readBootstrap(bundle.path);
    if (!binary) bundle.remove();
    else if (!bootstrap) await deps.manager.cleanUpDead(bundle, binary, 0, { replay: true, unborn: true });
    else await reconnect(bundle, binary, bootstrap, { ...deps, log });
  } catch (error) {
    log.error({ err: error }, "failed to load shim");
  }
}

async function reconnect(
  bundle: Bundle,
  binary: string,
  bootstrap: Bootstrap,
  deps: LoadDeps,
): Promise<void> {
  let client: ShimClient;
  try {
    client = await connectShim(bootstrap);
  } catch (error) {
    deps.log.warn({ err: error }, "shim is gone");
    await deps.manager.cleanUpDead(bundle, binary, 0, { replay: true });
    return;
  }
  const log = followShimLog(bundle.log, deps.log);
  const task = new Task({ bundle, binary, address: bootstrap.address, client, log });
  try {
    const state = await client.task.state({ id: bundle.id, execId: "" }, { timeoutMs: LOAD_TIMEOUT_MS });
    task.pid = state.pid;
    deps.manager.adopt(task);
    const stopped = state.status === Status.STOPPED;
    tellUntold(task, stopped ? { ...state, exitedAt: state.exitedAt ?? timestampNow() } : undefined, deps);
    if (!stopped) deps.manager.watchExit(task);
  } catch (error) {
    await judge(task, error, deps);
  }
}

/** What to do with a shim that did not tell its container's state. */
async function judge(task: Task, error: unknown, { manager, log }: LoadDeps): Promise<void> {
  if (errorCode(error) === "unavailable") {
    task.leave();
    await manager.cleanUpDead(task.bundle, task.binary, 0, { replay: true });
  } else if (errorCode(error) === "not_found") {
    log.info("cleaning leaked shim process");
    await manager.dismiss(task);
  } else {
    log.warn({ err: error }, "shim does not say how its container is; keeping it");
    manager.adopt(task);
  }
}

/** Publish the exits that no earlier daemon has. */
function tellUntold(
  { bundle }: Task,
  init: { pid: number; exitStatus: number; exitedAt: { seconds: bigint; nanos: number } } | undefined,
  { exits }: LoadDeps,
): void {
  const recorded = readExitRecords(bundle.path);
  const known = recorded.some(({ execId }) => execId === "");
  const { pid = 0, exitStatus = 0, exitedAt = timestampNow() } = init ?? {};
  const all = init && !known ? [...recorded, { execId: "", pid, exitStatus, exitedAt }] : recorded;
  for (const exit of all) {
    if (!wasTold(bundle.path, exit)) exits.report(bundle, exit, { replay: true });
  }
}

function findBundles(dirs: BundleDirs): Bundle[] {
  const bundles: Bundle[] = [];
  for (const namespace of directoriesIn(dirs.state)) {
    for (const id of directoriesIn(path.join(dirs.state, namespace))) {
      // Hidden ones were being removed when the daemon ended.
      if (id.startsWith(".")) removeBundleTree(path.join(dirs.state, namespace, id));
      else bundles.push(new Bundle(dirs, namespace, id));
    }
  }
  return bundles;
}

/** Work directories whose bundle is gone: the machine was restarted. */
function removeStrayWork({ dirs, manager, log }: LoadDeps): void {
  for (const namespace of directoriesIn(dirs.root)) {
    for (const id of directoriesIn(path.join(dirs.root, namespace))) {
      if (manager.find(namespace, id) || fs.existsSync(path.join(dirs.state, namespace, id))) continue;
      log.debug({ namespace, id }, "removing stray work directory");
      fs.rmSync(path.join(dirs.root, namespace, id), { recursive: true, force: true });
    }
  }
}

function directoriesIn(directory: string): string[] {
  try {
    const entries = fs.readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}
