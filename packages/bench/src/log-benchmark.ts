import { createReadStream } from "node:fs";
import { timed } from "./command.ts";
import type { Benchmark, Contender } from "./measure.ts";
import { byEngine, type Stack } from "./stacks.ts";

/** Of 20 characters with its end. */
const LINE = "abcdefghijklmnopqrs\n";
/** What the container writes at a time: whole lines. */
const CHUNK_BYTES = LINE.length << 12;
/** Enough for each to be at it for a second or more. */
const CHUNKS: Record<Contender, number> = { ours: 4000, "ours, own CLI": 4000, real: 600 };

/** How fast short lines get from a container into its json-file log, from its start until its end is told and the log is whole. */
export function logBenchmark(stacks: readonly Stack[]): Benchmark {
  return {
    name: "log of short lines",
    unit: "MB/s",
    atLeast: { value: 150, timesReal: 4 },
    contenders: new Map(
      byEngine(stacks).map((stack) => [stack.contender, () => throughput(stack, CHUNKS[stack.contender])]),
    ),
  };
}

async function throughput({ docker, env, image }: Stack, chunks: number): Promise<number> {
  const client = async (...args: string[]) => (await timed([docker, ...args], { env })).stdout;
  const bytes = chunks * CHUNK_BYTES;
  const program = `BEGIN { s = "${LINE.trimEnd()}\\n"; while (length(s) < ${CHUNK_BYTES}) s = s s; for (i = 0; i < ${chunks}; i++) printf "%s", s }`;
  const id = await client("run", "-d", "--network", "none", image, "awk", program);
  try {
    const status = await client("wait", id);
    const ended = Date.now();
    if (status !== "0") throw new Error(`the container ended with ${status}`);
    const [started = "", log = ""] = (
      await client("inspect", "-f", "{{.State.StartedAt}} {{.LogPath}}", id)
    ).split(" ");
    const lines = await linesIn(log);
    if (lines !== bytes / LINE.length)
      throw new Error(`${lines} lines in the log of ${bytes / LINE.length} written`);
    return bytes / 1e6 / ((ended - Date.parse(started)) / 1000);
  } finally {
    await client("rm", "-f", id);
  }
}

async function linesIn(file: string): Promise<number> {
  let lines = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    const bytes = chunk as Buffer;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  }
  return lines;
}
