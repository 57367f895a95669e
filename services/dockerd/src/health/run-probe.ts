import crypto from "node:crypto";
import fs from "node:fs";
import type { Duplex } from "node:stream";
import { isErrno } from "@longshore/errors";
import { StdioFrameDecoder } from "@longshore/stdio";
import type { Container } from "../containers/container.ts";
import { within } from "../containers/kill-container.ts";
import { type Engine, ioDir } from "../engine.ts";
import { Exec } from "../execs/exec.ts";
import { execConfigSchema } from "../execs/exec-config.ts";
import { startExec, tellCommand } from "../execs/run-exec.ts";
import type { ProbeResult } from "./health.ts";
import type { HealthPlan } from "./healthcheck.ts";

const OUTPUT_LIMIT_BYTES = 4096;
const CUT = "...";
/** How long the end of a killed probe is waited for, and that of its output, which a child of it may keep open. */
const END_WAIT_MS = 5000;
const OUTPUT_WAIT_MS = 500;
/** Probes are known by their ids, so that one that was left behind can be told from what users have started. */
const PROBE_ID = /^health-[0-9a-f]{9}/;

/** Look once at a container's health, by a process in it. One that takes too long, or isn't wanted any more, is killed. */
export async function runProbe(
  engine: Engine,
  container: Container,
  plan: HealthPlan,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const Start = new Date().toISOString();
  const id = `health-${crypto.randomBytes(5).toString("hex").slice(1)}`;
  const config = execConfigSchema.parse({ Cmd: plan.command, AttachStdout: true, AttachStderr: true });
  const exec = new Exec(id, container, config, true);
  engine.execs.add(exec);
  tellCommand(engine, exec, "exec_create");
  const output = new ProbeOutput();
  try {
    const work = startExec(engine, exec, undefined, async (stdio) => output.read(await stdio.connect()));
    const ended = work.then(() => exec.ended);
    const inTime = await within(untilAborted(ended, signal), plan.timeoutMs);
    if (!inTime || signal.aborted) await kill(engine, exec, work, ended, signal);
    await within(output.ended, inTime ? OUTPUT_WAIT_MS : 0);
    const End = new Date().toISOString();
    if (inTime) return { Start, End, ExitCode: exec.exitCode ?? -1, Output: output.text() };
    const partial = output.text();
    const why = `Health check exceeded timeout (${duration(plan.timeoutMs)})`;
    return { Start, End, ExitCode: -1, Output: cut(partial === "" ? why : `${why}: ${partial}`) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { Start, End: new Date().toISOString(), ExitCode: -1, Output: cut(why) };
  } finally {
    output.close();
    engine.execs.remove(exec);
  }
}

async function kill(
  { containerd }: Engine,
  exec: Exec,
  started: Promise<void>,
  ended: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const gone = ended.catch(() => {});
  // What has not begun can't be killed, and neither can what has just ended.
  await within(
    started.catch(() => {}),
    END_WAIT_MS,
  );
  const ids = { containerId: exec.container.id, execId: exec.id };
  await containerd.tasks.kill({ ...ids, signal: 9, all: false }).catch(() => {});
  if (!signal.aborted) await within(gone, END_WAIT_MS);
}

/** Resolves with the work, or when the signal aborts. */
async function untilAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const abort = () => resolve();
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** End probes of a daemon that was killed: nobody waits for them. */
export async function killStrayProbes(engine: Engine, container: Container): Promise<void> {
  const names = entriesOf(ioDir(engine, container.id)).flatMap((name) => PROBE_ID.exec(name)?.[0] ?? []);
  for (const execId of new Set(names)) {
    const ids = { containerId: container.id, execId };
    await engine.containerd.tasks.kill({ ...ids, signal: 9, all: false }).catch(() => {});
    engine.log.debug({ id: container.id, execId }, "a probe of an earlier daemon was ended");
  }
}

function entriesOf(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

/** The first bytes of what a probe writes, to either stream. */
class ProbeOutput {
  private readonly pieces: Buffer[] = [];
  private bytes = 0;
  private stream: Duplex | undefined;
  private tellEnded: () => void = () => {};
  readonly ended = new Promise<void>((resolve) => {
    this.tellEnded = resolve;
  });

  read(stream: Duplex): void {
    this.stream = stream;
    const decoder = new StdioFrameDecoder({ data: (_, piece) => this.take(piece), empty() {} });
    stream.on("data", (chunk: Buffer) => decoder.push(chunk));
    stream.on("error", () => this.tellEnded());
    stream.once("end", () => this.tellEnded());
    stream.once("close", () => this.tellEnded());
  }

  private take(piece: Uint8Array): void {
    if (this.bytes > OUTPUT_LIMIT_BYTES) return;
    this.pieces.push(Buffer.from(piece.subarray(0, OUTPUT_LIMIT_BYTES + 1 - this.bytes)));
    this.bytes += piece.length;
  }

  text(): string {
    return cut(Buffer.concat(this.pieces).toString());
  }

  close(): void {
    this.stream?.destroy();
  }
}

function cut(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= OUTPUT_LIMIT_BYTES) return text;
  // Not within a character.
  let end = OUTPUT_LIMIT_BYTES - CUT.length;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end) + CUT;
}

/** As Go writes it: `1.5s`, `250ms`. */
function duration(ms: number): string {
  if (ms < 1000) return `${ms}ms`;
  const [minutes, seconds] = [Math.floor(ms / 60_000), (ms % 60_000) / 1000];
  const hours = Math.floor(minutes / 60);
  if (hours > 0) return `${hours}h${minutes % 60}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}
