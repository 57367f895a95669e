import { imageNames, type ServedImages } from "./bench-registry.ts";
import { timed } from "./command.ts";
import type { Attempt, Benchmark } from "./measure.ts";
import { byEngine, type Stack } from "./stacks.ts";

const PULL_BAR = 0.8;
const PUSH_BAR = 1;
const LOAD_BAR = 0.8;
/** The real engine compresses all layers again for a push. */
const TIMEOUT_MS = 180_000;
const TITLES = { packages: "300 MB, 6 layers", small: "50,000 files" } as const;

const pullName = (title: string) => `docker pull, ${title}`;
const pushName = (title: string) => `docker push, ${title}`;
const loadName = (title: string) => `docker load, ${title}`;

/** Names of what {@link imageBenchmarks} measures. */
export const imageBenchmarkNames = [pullName, pushName, loadName].flatMap((name) =>
  Object.values(TITLES).map(name),
);

/**
 * Pulls from one registry, pushes to another that lacks the layers, and loads from archives. Each round has an image of its own, so that nothing need be removed
 * between rounds: file systems are slow with what was just deleted.
 */
export function imageBenchmarks(stacks: readonly Stack[], images: ServedImages): Benchmark[] {
  const each = (make: (stack: Stack) => Attempt) =>
    new Map(byEngine(stacks).map((stack) => [stack.contender, make(stack)]));
  return imageNames.flatMap((image): Benchmark[] => [
    {
      name: pullName(TITLES[image]),
      bar: PULL_BAR,
      contenders: each((stack) => async (round) => {
        const { ms } = await pull(stack, `${images.source}/${image}:${round}`);
        return ms;
      }),
    },
    {
      name: pushName(TITLES[image]),
      bar: PUSH_BAR,
      contenders: each((stack) => async (round) => {
        const from = `${images.source}/${image}:${round}`;
        const to = `${images.target}/${stack.contender === "real" ? "real" : "ours"}-${image}:${round}`;
        await pull(stack, from);
        return (await push(stack, from, to)).ms;
      }),
    },
    {
      name: loadName(TITLES[image]),
      bar: LOAD_BAR,
      contenders: each(({ docker, env }) => async (round) => {
        const load = [docker, "load", "--quiet", "--input", images.archive(image, round)];
        return (await timed(load, { env, timeoutMs: TIMEOUT_MS })).ms;
      }),
    },
  ]);
}

function pull({ docker, env }: Stack, image: string): Promise<{ ms: number }> {
  return timed([docker, "pull", "--quiet", image], { env, timeoutMs: TIMEOUT_MS });
}

async function push({ docker, env }: Stack, from: string, to: string): Promise<{ ms: number }> {
  await timed([docker, "tag", from, to], { env });
  return timed([docker, "push", "--quiet", to], { env, timeoutMs: TIMEOUT_MS });
}
