import { setTimeout as delay } from "node:timers/promises";
import type { Suite } from "@longshore/suite";
import { timed } from "./command.ts";
import type { Attempt, Benchmark, Contender } from "./measure.ts";
import { runningShims } from "./shims.ts";
import type { Stack } from "./stacks.ts";

const RUN_BARS = { bridge: 0.4, none: 0.4, host: 0.5 };
const EXEC_BAR = 0.5;
/** Of what only asks. */
const LIST_BAR = 1;
const LISTED = 10;
const STARTED = 20;
const AT_ONCE = 4;
const START_BAR = 0.4;

/** For all containers of an engine, which may be a thousand. */
const REMOVAL_MS = 120_000;

/** How long an engine may go on taking a container apart after its client has its answer. */
const SETTLE_MS = 5000;

/** What users wait for, by each client on its engine. */
export function dockerBenchmarks(stacks: readonly Stack[]): Benchmark[] {
  const each = (make: (stack: Stack) => Attempt): Map<Contender, Attempt> =>
    new Map(stacks.map((stack) => [stack.contender, make(stack)]));
  const docker = async ({ docker, env }: Stack, ...args: string[]) => timed([docker, ...args], { env });

  const run = (network: keyof typeof RUN_BARS): Benchmark => ({
    name: `docker run --rm, ${network}`,
    bar: RUN_BARS[network],
    contenders: each((stack) => async () => {
      const shims = runningShims().length;
      const { ms } = await docker(stack, "run", "--rm", "--network", network, stack.image, "true");
      await settle(shims);
      return ms;
    }),
  });

  const exec: Benchmark = {
    name: "docker exec",
    bar: EXEC_BAR,
    contenders: each((stack) => {
      let container: Promise<{ stdout: string }> | undefined;
      return async () => {
        container ??= docker(stack, "run", "-d", stack.image, "sleep", "100000");
        const { stdout: id } = await container;
        return (await docker(stack, "exec", id, "true")).ms;
      };
    }),
  };

  const detached: Benchmark = {
    name: "docker run -d, rm -f",
    contenders: each((stack) => async () => {
      const shims = runningShims().length;
      const run = await docker(stack, "run", "-d", stack.image, "sleep", "100000");
      const remove = await docker(stack, "rm", "-f", run.stdout);
      await settle(shims);
      return run.ms + remove.ms;
    }),
  };

  /** Something asked about containers that are there, made at the first time for all that ask. */
  const ask = (name: string, ...args: string[]): Benchmark => ({
    name,
    bar: LIST_BAR,
    contenders: each((stack) => async () => {
      const [first = ""] = await listed(stack);
      return (await docker(stack, ...args.map((word) => (word === "ID" ? first : word)))).ms;
    }),
  });

  const parallel: Benchmark = {
    name: `docker run -d, ${STARTED} containers, ${AT_ONCE} at a time, each`,
    bar: START_BAR,
    contenders: each((stack) => async () => {
      const shims = runningShims().length;
      const ids: string[] = [];
      const begun = performance.now();
      const starter = async () => {
        for (let count = 0; count < STARTED / AT_ONCE; count++)
          ids.push((await docker(stack, "run", "-d", stack.image, "sleep", "100000")).stdout);
      };
      await Promise.all(Array.from({ length: AT_ONCE }, starter));
      const ms = performance.now() - begun;
      await docker(stack, "rm", "-f", ...ids);
      await settle(shims);
      return ms / STARTED;
    }),
  };

  return [
    ...[run("bridge"), run("none"), run("host"), exec, detached, parallel],
    ask(`docker ps -a, ${LISTED} containers`, "ps", "-a"),
    ask("docker inspect", "inspect", "ID"),
  ];
}

const containersOf = new Map<Suite, Promise<string[]>>();

/** Containers of an engine that are there to be asked about. */
function listed({ suite, docker, env, image }: Stack): Promise<string[]> {
  const make = async () => {
    const ids: string[] = [];
    for (let count = 0; count < LISTED; count++)
      ids.push((await timed([docker, "create", image, "sleep", "100000"], { env })).stdout);
    return ids;
  };
  const known = containersOf.get(suite) ?? make();
  containersOf.set(suite, known);
  return known;
}

/**
 * Wait, which is not counted, until no more shims run than before: whoever is next shall have the machine to himself.
 * @throws Error when they don't end
 */
async function settle(shims: number): Promise<void> {
  for (const end = performance.now() + SETTLE_MS; runningShims().length > shims; await delay(5))
    if (performance.now() > end) throw new Error("the shim of a removed container does not end");
}

/** Remove every container, so that nothing runs on. */
export async function removeContainers({ docker, env }: Stack): Promise<void> {
  const { stdout } = await timed([docker, "ps", "-aq"], { env });
  const ids = stdout.split("\n").filter(Boolean);
  if (ids.length > 0) await timed([docker, "rm", "-f", ...ids], { env, timeoutMs: REMOVAL_MS });
}
