import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ComponentName, Suite } from "@longshore/suite";
import { timed } from "./command.ts";
import { type BenchmarkResult, type Contender, type Summary, summarize } from "./measure.ts";
import { runningShims, standbyShims } from "./shims.ts";
import { byEngine, type Stack } from "./stacks.ts";

/** Until an engine is at rest: daemons of ours tidy up 20 s after the last call. */
const SETTLE_MS = 25_000;
const SHIM_LIMIT_MB = 3;
/** Until a shim has given back what it took to start its container, and before it sleeps. */
const AWAKE_MS = 5000;

/** What only this process has of its memory, in MB (10^6 bytes): private clean and dirty. */
export function privateMegabytes(pid: number): number {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kilobytes = [...rollup.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)];
  return kilobytes.reduce((sum, [, value]) => sum + Number(value) * 1024, 0) / 1e6;
}

/** The shim of a container, by its command line. */
function shimPid(containerId: string): number {
  const shim = runningShims().find(({ words }) => words.includes(containerId));
  if (!shim) throw new Error(`no shim of container ${containerId}`);
  return shim.pid;
}

const DAEMONS: readonly ComponentName[] = ["dockerd", "containerd", "registry-client", "nats-server"];

/** What an engine needs to run containers: what the real one has as well, and our client of registries. */
const NEEDED: readonly ComponentName[] = ["dockerd", "containerd", "registry-client"];
const IDLE_BAR = 1.2;
const MANY = 100;
const MANY_BAR = 0.8;
const STARTED_AT_ONCE = 4;

/** Memory of each engine's processes together: without containers, and with a hundred, their shims included. */
export async function measureEngines(stacks: readonly Stack[]): Promise<BenchmarkResult[]> {
  const measured = byEngine(stacks);
  const sum = (suite: Suite, shims: readonly number[]) => {
    const daemons = NEEDED.flatMap((name) => suite.pid(name) ?? []);
    return [...daemons, ...daemons.flatMap(standbyShims), ...shims].reduce(
      (total, pid) => total + privateMegabytes(pid),
      0,
    );
  };
  const result = async (name: string, bar: number, shimsOf: (stack: Stack) => number[]) => {
    await delay(SETTLE_MS);
    execFileSync("sync");
    const summaries = measured.map(
      (stack) => [stack.contender, attempt(() => [sum(stack.suite, shimsOf(stack))])] as const,
    );
    return { name, unit: "MB", bar, summaries: new Map(summaries) } satisfies BenchmarkResult;
  };
  const idle = await result("private memory, engine, idle", IDLE_BAR, () => []);
  const ids = new Map<Stack, string[]>();
  for (const stack of measured) ids.set(stack, await startMany(stack));
  const many = await result(`private memory, engine, ${MANY} containers`, MANY_BAR, (stack) =>
    (ids.get(stack) ?? []).map(shimPid),
  );
  return [idle, many];
}

async function startMany({ docker, env, image }: Stack): Promise<string[]> {
  const ids: string[] = [];
  const starter = async () => {
    for (let count = 0; count < MANY / STARTED_AT_ONCE; count++)
      ids.push((await timed([docker, "run", "-d", image, "sleep", "100000"], { env })).stdout);
  };
  await Promise.all(Array.from({ length: STARTED_AT_ONCE }, starter));
  return ids;
}

/** Memory of the shims of idle containers, and of each daemon beside its peer. */
export async function measureMemory(
  stacks: readonly Stack[],
  containers: number,
): Promise<BenchmarkResult[]> {
  const measured = byEngine(stacks);
  const ids = new Map<Contender, string[]>();
  for (const { contender, docker, env, image } of measured) {
    const started: string[] = [];
    for (let count = 0; count < containers; count++)
      started.push((await timed([docker, "run", "-d", image, "sleep", "100000"], { env })).stdout);
    ids.set(contender, started);
  }
  const ofShims = async (name: string, restMs: number, limit?: number): Promise<BenchmarkResult> => {
    await delay(restMs);
    // Pages of a file that is not yet written back count as dirty.
    execFileSync("sync");
    const read = (contender: Contender) => () =>
      (ids.get(contender) ?? []).map((id) => privateMegabytes(shimPid(id)));
    const summaries = measured.map(({ contender }) => [contender, attempt(read(contender))] as const);
    return { name, unit: "MB", ...(limit && { limit }), summaries: new Map(summaries) };
  };
  const awake = await ofShims("private memory, shim, 5 s after a start", AWAKE_MS);
  const idle = await ofShims("private memory, idle shim", SETTLE_MS, SHIM_LIMIT_MB);
  const daemons = DAEMONS.map((daemon): BenchmarkResult => {
    const running = measured.filter(({ suite }) => suite.pid(daemon) !== undefined);
    return {
      ...{ name: `private memory, ${daemon}`, unit: "MB" },
      summaries: new Map(
        running.map(({ contender, suite }) => [contender, attempt(() => [ofDaemon(suite, daemon)])]),
      ),
    };
  });
  // Last: it wakes them all.
  const exec = await execAtRest(measured, ids);
  return [awake, idle, exec, ...daemons].filter(({ summaries }) => summaries.size > 0);
}

/** A command in each of the containers, of which nobody has wanted anything for long. */
async function execAtRest(
  stacks: readonly Stack[],
  ids: ReadonlyMap<Contender, readonly string[]>,
): Promise<BenchmarkResult> {
  const summaries = new Map<Contender, Summary | Error>();
  for (const { contender, docker, env } of stacks) {
    const times: number[] = [];
    for (const id of ids.get(contender) ?? [])
      times.push((await timed([docker, "exec", id, "true"], { env })).ms);
    summaries.set(
      contender,
      attempt(() => times),
    );
  }
  return { name: "docker exec, container at rest", unit: "ms", summaries };
}

function ofDaemon(suite: Suite, daemon: ComponentName): number {
  const pid = suite.pid(daemon);
  if (pid === undefined) throw new Error(`${daemon} has ended`);
  return privateMegabytes(pid);
}

function attempt(read: () => number[]): Summary | Error {
  try {
    return summarize(read());
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
