/** One shim, thousands of execs and gigabytes of logs: `npm run soak:shim -- [--execs N] [--megabytes N]`. */
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { formatStdioUri } from "@longshore/stdio";
import { IDLE_ENVIRONMENT } from "../src/lean.ts";
import { Harness, ownRunc, peerRunc, type TestContainer, until } from "./harness.ts";

export interface SoakOptions {
  execs: number;
  /** To a log of 10 MB and one rotated file. */
  logBytes: number;
  progress?: (line: string) => void;
}

/** Of the shim, when it has come to rest. */
export interface Footprint {
  /** What only it has of its memory and has written to. */
  bytes: number;
  fds: number;
}

export interface SoakReport {
  /** After some of both, so that whatever is made once is there. */
  before: Footprint;
  /** With `progress` only: each look takes five seconds. */
  afterExecs: Footprint | undefined;
  afterLogs: Footprint;
  megabytesPerSecond: number;
}

/** Until the engine has made machine code of what runs often: a megabyte that comes once. */
const WARM_UP = { execs: 200, part: 0.1, logBytes: 60e6 };
/** How many execs run at once. */
const AT_ONCE = 4;
const LINE = "a line of the usual kind: 2026-01-01 12:34:56 INFO GET /index.html 200";

/** Do it; the container and its shim are gone at the end. */
export async function soak({ execs, logBytes, progress }: SoakOptions): Promise<SoakReport> {
  await using harness = new Harness();
  const container = await harness.container({
    args: ["sleep", "100000"],
    runc: ownRunc ?? peerRunc ?? "",
    env: { LONGSHORE_SHIM_STAY: "1", ...IDLE_ENVIRONMENT },
  });
  const log = path.join(harness.dir, "c-json.log");
  const stdout = formatStdioUri({
    socketPath: path.join(harness.dir, "io.sock"),
    log: { path: log, maxSizeBytes: 10e6, maxFiles: 2 },
  });
  await container.create({ stdout });
  await container.start();

  await runExecs(container, Math.max(WARM_UP.execs, WARM_UP.part * execs), stdout);
  await writeLogs(container, WARM_UP.logBytes, stdout);
  const before = await footprintOf(container);
  progress?.(`at first ${describe(before)}`);
  await runExecs(container, execs, stdout, progress);
  const afterExecs = progress && (await footprintOf(container));
  if (afterExecs) progress(`after ${execs} execs ${describe(afterExecs)}`);
  const started = performance.now();
  await writeLogs(container, logBytes, stdout, progress);
  const seconds = (performance.now() - started) / 1000;
  const afterLogs = await footprintOf(container);
  progress?.(`after ${logBytes / 1e6} MB of logs ${describe(afterLogs)}`);

  await container.kill(9);
  await container.finish();
  return { before, afterExecs, afterLogs, megabytesPerSecond: logBytes / 1e6 / seconds };
}

let counter = 0;

async function runExec(container: TestContainer, args: string[], stdout: string): Promise<void> {
  const id = `soak${counter++}`;
  // A socket for each, as dockerd has it.
  await container.exec(id, args, { stdout: stdout.replace("io.sock", `${id}.sock`) });
  await container.start(id);
  const { exitStatus } = await container.wait(id);
  if (exitStatus !== 0) throw new Error(`${args[0]} ended with ${exitStatus}`);
  await container.delete(id);
}

async function runExecs(
  container: TestContainer,
  count: number,
  stdout: string,
  progress?: (line: string) => void,
): Promise<void> {
  let left = count;
  const worker = async () => {
    while (left-- > 0) {
      await runExec(container, ["echo", "done"], stdout);
      if (left > 0 && left % 1000 === 0) progress?.(`${left} execs left`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** In pieces, so that no call takes longer than its limit. */
async function writeLogs(
  container: TestContainer,
  bytes: number,
  stdout: string,
  progress?: (line: string) => void,
): Promise<void> {
  const piece = 200e6;
  for (let done = 0; done < bytes; done += piece) {
    const chunk = (LINE.length + 1) << 10;
    const chunks = Math.ceil(Math.min(piece, bytes - done) / chunk);
    const program = `BEGIN { s = "${LINE}\\n"; while (length(s) < ${chunk}) s = s s; for (i = 0; i < ${chunks}; i++) printf "%s", s }`;
    await runExec(container, ["busybox", "awk", program], stdout);
    if (done > 0 && done % 2e9 === 0) progress?.(`${done / 1e6} MB`);
  }
}

/** When its memory has stayed the same for longer than the shim waits before it gives back what it can. */
async function footprintOf({ shimPid }: TestContainer): Promise<Footprint> {
  // Pages of a file that is not yet written back count as dirty.
  Bun.spawnSync(["sync"]);
  let bytes = Number.NaN;
  let since = 0;
  await until(
    () => {
      const now = privateBytes(shimPid);
      if (now !== bytes) since = Date.now();
      bytes = now;
      return Date.now() - since > 2500;
    },
    "the shim to come to rest",
    30_000,
  );
  return { bytes, fds: fs.readdirSync(`/proc/${shimPid}/fd`).length };
}

function privateBytes(pid: number): number {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Private_Dirty: +(\d+) kB$/m.exec(rollup)?.[1]) * 1024;
}

function describe({ bytes, fds }: Footprint): string {
  return `${(bytes / 1e6).toFixed(2)} MB and ${fds} descriptors`;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      execs: { type: "string", default: "10000" },
      megabytes: { type: "string", default: "10000" },
    },
  });
  const { before, afterExecs, afterLogs, megabytesPerSecond } = await soak({
    execs: Number(values.execs),
    logBytes: Number(values.megabytes) * 1e6,
    progress: (line) => console.error(line),
  });
  const later = [afterExecs ?? before, afterLogs] as const;
  console.log(
    `shim: ${describe(before)} at first, ${describe(later[0])} after ${values.execs} execs, ${describe(afterLogs)} after ${values.megabytes} MB of logs at ${megabytesPerSecond.toFixed(0)} MB/s`,
  );
  const grown = later.some(({ bytes, fds }) => fds > before.fds || bytes > before.bytes + 1e6);
  process.exitCode = grown ? 1 : 0;
}
