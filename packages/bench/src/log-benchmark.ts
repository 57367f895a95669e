import { createReadStream } from "node:fs";
import { timed } from "./command.ts";
import type { Attempt, Benchmark, Contender } from "./measure.ts";
import { byEngine, type Stack } from "./stacks.ts";

/** Of 20 characters with its end. */
const SHORT_LINE = "abcdefghijklmnopqrs\n";
/** Of 100. */
const LINE = `${"0123456789".repeat(9)}abcdefghi\n`;
/** What the container writes at a time: whole lines. */
const CHUNK_LINES = 1 << 12;
/** Enough for each to be at it for a second or more. */
const CHUNKS: Record<Contender, number> = { ours: 4000, "ours, own CLI": 4000, real: 600 };
const WRITTEN_MB = 100;
/** A real engine may take long. */
const LOG_TIMEOUT_MS = 120_000;

/** How fast lines get from a container into its json-file log, and back by `docker logs`. */
export function logBenchmarks(stacks: readonly Stack[]): Benchmark[] {
  const each = (stacks: readonly Stack[], make: (stack: Stack) => Attempt) =>
    new Map(stacks.map((stack) => [stack.contender, make(stack)] as const));
  const engines = byEngine(stacks);
  const chunks = (WRITTEN_MB * 1e6) / (LINE.length * CHUNK_LINES);
  return [
    {
      name: "log of short lines",
      unit: "MB/s",
      atLeast: { value: 150, timesReal: 4 },
      contenders: each(
        engines,
        (stack) => () => written(stack, { line: SHORT_LINE, chunks: CHUNKS[stack.contender] }),
      ),
    },
    {
      name: "log of 100 MB, written",
      unit: "MB/s",
      atLeast: { timesReal: 4 },
      contenders: each(engines, (stack) => () => written(stack, { line: LINE, chunks })),
    },
    {
      name: "log of 100 MB, docker logs",
      unit: "MB/s",
      atLeast: { timesReal: 4 },
      contenders: each(stacks, reader(chunks)),
    },
  ];
}

/** The client's output goes where it costs nothing. */
function reader(chunks: number): (stack: Stack) => Attempt {
  return (stack) => {
    let container: Promise<string> | undefined;
    return async () => {
      container ??= logged(stack, { line: LINE, chunks }).then(({ id }) => id);
      const argv = ["sh", "-c", 'exec "$0" logs "$1" >/dev/null', stack.docker, await container];
      const { ms } = await timed(argv, { env: stack.env, timeoutMs: LOG_TIMEOUT_MS });
      return (Math.round(chunks) * CHUNK_LINES * LINE.length) / 1e6 / (ms / 1000);
    };
  };
}

interface Log {
  line: string;
  chunks: number;
}

/** MB a second from a container's start until its end is told and its log is whole. */
async function written(stack: Stack, log: Log): Promise<number> {
  const { id, bytes, ms } = await logged(stack, log);
  await timed([stack.docker, "rm", "-f", id], { env: stack.env });
  return bytes / 1e6 / (ms / 1000);
}

/** A container that has written its log and ended. */
async function logged(
  { docker, env, image }: Stack,
  { line, chunks }: Log,
): Promise<{ id: string; bytes: number; ms: number }> {
  const client = async (...args: string[]) =>
    (await timed([docker, ...args], { env, timeoutMs: LOG_TIMEOUT_MS })).stdout;
  const count = Math.round(chunks);
  const chunkBytes = line.length * CHUNK_LINES;
  const program = `BEGIN { s = "${line.trimEnd()}\\n"; while (length(s) < ${chunkBytes}) s = s s; for (i = 0; i < ${count}; i++) printf "%s", s }`;
  const id = await client("run", "-d", "--network", "none", image, "awk", program);
  const status = await client("wait", id);
  const ended = Date.now();
  if (status !== "0") throw new Error(`the container ended with ${status}`);
  const [started = "", file = ""] = (
    await client("inspect", "-f", "{{.State.StartedAt}} {{.LogPath}}", id)
  ).split(" ");
  const lines = await linesIn(file);
  if (lines !== count * CHUNK_LINES)
    throw new Error(`${lines} lines in the log of ${count * CHUNK_LINES} written`);
  return { id, bytes: count * chunkBytes, ms: ended - Date.parse(started) };
}

async function linesIn(file: string): Promise<number> {
  let lines = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    const bytes = chunk as Buffer;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  }
  return lines;
}
