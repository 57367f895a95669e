import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { ComponentName, Suite } from "@longshore/suite";
import { timed } from "./command.ts";
import { type BenchmarkResult, type Contender, type Summary, summarize } from "./measure.ts";
import { runningShims } from "./shims.ts";
import { byEngine, type Stack } from "./stacks.ts";

/** After a start, for collectors and allocators to come to rest. */
const SETTLE_MS = 3000;
const SHIM_LIMIT_MB = 3;

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
  await delay(SETTLE_MS);
  // Pages of a file that is not yet written back count as dirty.
  execFileSync("sync");

  const shims: BenchmarkResult = {
    ...{ name: "private memory, idle shim", unit: "MB", limit: SHIM_LIMIT_MB },
    summaries: new Map(
      measured.map(({ contender }) => [
        contender,
        attempt(() => (ids.get(contender) ?? []).map((id) => privateMegabytes(shimPid(id)))),
      ]),
    ),
  };
  const daemons = DAEMONS.map((daemon): BenchmarkResult => {
    const running = measured.filter(({ suite }) => suite.pid(daemon) !== undefined);
    return {
      ...{ name: `private memory, ${daemon}`, unit: "MB" },
      summaries: new Map(
        running.map(({ contender, suite }) => [contender, attempt(() => [ofDaemon(suite, daemon)])]),
      ),
    };
  });
  return [shims, ...daemons].filter(({ summaries }) => summaries.size > 0);
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
