import { setTimeout as delay } from "node:timers/promises";
import { timed } from "./command.ts";
import type { Attempt, Benchmark, Contender } from "./measure.ts";
import { runningShims } from "./shims.ts";
import type { Stack } from "./stacks.ts";

const RUN_BAR = 0.7;

/** How long an engine may go on taking a container apart after its client has its answer. */
const SETTLE_MS = 5000;

/** What users wait for, by each client on its engine. */
export function dockerBenchmarks(stacks: readonly Stack[]): Benchmark[] {
  const each = (make: (stack: Stack) => Attempt): Map<Contender, Attempt> =>
    new Map(stacks.map((stack) => [stack.contender, make(stack)]));
  const docker = async ({ docker, env }: Stack, ...args: string[]) => timed([docker, ...args], { env });

  const run = (network: string): Benchmark => ({
    name: `docker run --rm, ${network}`,
    bar: RUN_BAR,
    contenders: each((stack) => async () => {
      const shims = runningShims().length;
      const { ms } = await docker(stack, "run", "--rm", "--network", network, stack.image, "true");
      await settle(shims);
      return ms;
    }),
  });

  const exec: Benchmark = {
    name: "docker exec",
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

  return [run("bridge"), run("none"), run("host"), exec, detached];
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
  if (ids.length > 0) await timed([docker, "rm", "-f", ...ids], { env });
}
