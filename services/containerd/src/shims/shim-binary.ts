import {
  BootstrapParams,
  LogLevel as ProtoLogLevel,
} from "@longshore/api/containerd/runtime/bootstrap/v1/bootstrap";
import { DeleteResponse } from "@longshore/api/containerd/runtime/task/v2/shim";
import { Any } from "@longshore/api/google/protobuf/any";
import { VERSION } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import type { ShimOutbox } from "../events/shim-outbox.ts";
import { type Bootstrap, parseBootstrapAnswer } from "./bootstrap.ts";
import type { Bundle } from "./bundle.ts";
import { StandbyShim } from "./standby-shim.ts";

/** What every shim is told of its daemon. */
export interface ShimSurroundings {
  /** gRPC socket. */
  address: string;
  ttrpcAddress: string;
  debug: boolean;
  natsUrl: string | undefined;
  natsTokenFile: string | undefined;
  /** How long nothing must happen before it sleeps; it has a word of its own where there is none. */
  shimSleepMs: number | undefined;
  /** Where its events wait while NATS is away. */
  outbox: ShimOutbox;
}

/**
 * The lean settings of the engine that our own binaries run on: one thread, little memory. They must be there before the process
 * starts.
 */
const LEAN: Readonly<Record<string, string>> = {
  BUN_JSC_useConcurrentJIT: "0",
  BUN_JSC_numberOfGCMarkers: "1",
  BUN_JSC_useConcurrentGC: "0",
};

/**
 * For `start`: our shim stays and serves, where a real one leaves another process behind and ends; with what it otherwise gives that
 * process, a small heap whose freed memory goes back at once, and machine code only for what runs hot.
 */
const STAY: Readonly<Record<string, string>> = {
  LONGSHORE_SHIM_STAY: "1",
  BUN_OPTIONS: "--smol",
  BUN_JSC_forceMiniVMMode: "1",
  BUN_JSC_thresholdForJITAfterWarmUp: "200000",
  MIMALLOC_PURGE_DELAY: "0",
  BUN_GC_TIMER_DISABLE: "1",
  BUN_JSC_gcMaxHeapSize: "2000000",
  BUN_JSC_sizeClassProgression: "2",
  MIMALLOC_ARENA_RESERVE: "65536",
};

/** Shims that refused the options on stdin as versions before 2.3 read them, by path. */
const wantsBootstrapParams = new Set<string>();

export interface StartOptions {
  /** Of the runtime, which the shim reads on stdin. */
  options: Any | undefined;
  surroundings: ShimSurroundings;
  standby: StandbyShim | undefined;
  signal: AbortSignal;
}

/** For a shim of ours that stands by: what it would get for its `start`, but for what is one container's. */
export function standbyShim(binary: string, surroundings: ShimSurroundings, log: Logger): StandbyShim {
  return new StandbyShim({
    binary,
    words: identityWords({ namespace: "", id: "" }, surroundings),
    environment: { ...sharedEnvironment(surroundings), ...STAY },
    log,
  });
}

/**
 * Run `<shim> start` in the bundle, or take the one that stands by; the shim that stays serves the container.
 *
 * @throws EngineError `unknown` with what the shim printed when it fails
 */
export async function startShim(
  binary: string,
  bundle: Bundle,
  { options, surroundings, standby, signal }: StartOptions,
): Promise<Bootstrap> {
  signal.throwIfAborted();
  const ready = standby?.take(binary, {
    argv: shimWords(bundle, surroundings, "start"),
    bundle: bundle.path,
    environment: ownEnvironment(bundle, surroundings),
  });
  // One that fails had no say in who it is: the next one tells why.
  const taken = ready && (await outcome(ready, `${binary} start`, { signal, stays: true }));
  if (taken?.exitCode === 0) return parseBootstrapAnswer(taken.stdout);
  const run = (stdin: Uint8Array) =>
    runShim(binary, bundle, ["start"], { surroundings, stdin, cwd: bundle.path, signal, stays: true });
  const anyBytes = options ? Any.encode(options).finish() : new Uint8Array();
  const params = () => bootstrapParams(bundle, options, surroundings);
  const first = await run(wantsBootstrapParams.has(binary) ? params() : anyBytes);
  if (first.exitCode === 0) return parseBootstrapAnswer(first.stdout);
  // A shim of 2.3 or later says that it was started through the old protocol. No flag tells which one a binary speaks.
  if (!wantsBootstrapParams.has(binary) && /deprecated API/.test(first.stderr)) {
    wantsBootstrapParams.add(binary);
    const second = await run(params());
    if (second.exitCode === 0) return parseBootstrapAnswer(second.stdout);
    throw failed("start", second);
  }
  throw failed("start", first);
}

/** Run `<shim> delete`: clean up after a shim that is gone, its container included. */
export async function deleteWithShim(
  binary: string,
  bundle: Bundle,
  surroundings: ShimSurroundings,
  signal: AbortSignal,
): Promise<DeleteResponse> {
  const args = ["-bundle", bundle.path, "delete"];
  const ended = await runShim(binary, bundle, args, { surroundings, cwd: bundle.path, signal });
  if (ended.exitCode !== 0) throw failed("delete", ended);
  return DeleteResponse.decode(ended.stdout);
}

interface RunOptions {
  surroundings: ShimSurroundings;
  cwd: string;
  stdin?: Uint8Array;
  signal: AbortSignal;
  /** An answer, once it is complete, is all there is to wait for: its process may be the one that serves. */
  stays?: boolean;
}

interface Ended {
  exitCode: number;
  stdout: Uint8Array;
  stderr: string;
}

async function runShim(
  binary: string,
  bundle: Bundle,
  action: readonly string[],
  { surroundings, cwd, stdin, signal, stays = false }: RunOptions,
): Promise<Ended> {
  signal.throwIfAborted();
  const child = Bun.spawn([binary, ...shimWords(bundle, surroundings, ...action)], {
    cwd,
    env: {
      ...sharedEnvironment(surroundings),
      ...ownEnvironment(bundle, surroundings),
      ...(stays && STAY),
    },
    stdin: stdin && stdin.length > 0 ? stdin : "ignore",
    stdout: "pipe",
    stderr: "pipe",
    // A process group of its own: a signal to ours is not meant for shims.
    detached: true,
  });
  return outcome(child, `${binary} ${action.at(-1)}`, { signal, stays });
}

/** What became of it. @param what for the message that it was stopped */
async function outcome(
  child: Bun.Subprocess<"pipe" | "ignore" | Uint8Array, "pipe", "pipe">,
  what: string,
  { signal, stays }: { signal: AbortSignal; stays: boolean },
): Promise<Ended> {
  const kill = () => child.kill("SIGKILL");
  signal.addEventListener("abort", kill, { once: true });
  const stdout = await new Response(child.stdout).bytes();
  const exitCode = stays && stdout.length > 0 ? 0 : await child.exited;
  signal.removeEventListener("abort", kill);
  if (signal.aborted) throw new EngineError("canceled", `${what} was stopped`, { cause: signal.reason });
  child.unref();
  const stderr = exitCode === 0 ? "" : await new Response(child.stderr).text();
  if (exitCode === 0) void child.stderr.cancel();
  return { exitCode, stdout, stderr };
}

function identityWords(
  { namespace, id }: Pick<Bundle, "namespace" | "id">,
  { address, debug }: ShimSurroundings,
): string[] {
  const whose = [
    "-namespace",
    namespace,
    "-address",
    address,
    "-publish-binary",
    process.execPath,
    "-id",
    id,
  ];
  return debug ? [...whose, "-debug"] : whose;
}

function shimWords(bundle: Bundle, surroundings: ShimSurroundings, ...action: readonly string[]): string[] {
  return [...identityWords(bundle, surroundings), ...action];
}

/** The environment of all shims. */
function sharedEnvironment({
  address,
  ttrpcAddress,
  natsUrl,
  natsTokenFile,
  shimSleepMs,
}: ShimSurroundings): Record<string, string | undefined> {
  return {
    ...process.env,
    ...LEAN,
    GOMAXPROCS: "2",
    MAX_SHIM_VERSION: "2",
    TTRPC_ADDRESS: ttrpcAddress,
    GRPC_ADDRESS: address,
    ...(natsUrl && { LONGSHORE_NATS_URL: natsUrl }),
    ...(natsTokenFile && { LONGSHORE_NATS_TOKEN_FILE: natsTokenFile }),
    ...(shimSleepMs !== undefined && { LONGSHORE_SHIM_SLEEP_MS: String(shimSleepMs) }),
  };
}

/** What only the one of this bundle gets. */
function ownEnvironment(
  { namespace, eventQueue }: Bundle,
  { natsUrl, outbox }: ShimSurroundings,
): Record<string, string> {
  return {
    NAMESPACE: namespace,
    ...(natsUrl && { LONGSHORE_EVENT_QUEUE: outbox.fileOf(namespace, eventQueue) }),
  };
}

function bootstrapParams(
  { id, namespace }: Bundle,
  options: Any | undefined,
  { address, ttrpcAddress, debug }: ShimSurroundings,
): Uint8Array {
  return BootstrapParams.encode({
    instanceId: id,
    namespace,
    logLevel: debug ? ProtoLogLevel.LOG_LEVEL_DEBUG : ProtoLogLevel.LOG_LEVEL_INFO,
    containerdVersion: VERSION,
    containerdTtrpcAddress: ttrpcAddress,
    containerdGrpcAddress: address,
    containerdBinary: process.execPath,
    extensions: options ? [{ value: options }] : [],
  }).finish();
}

function failed(action: string, { exitCode, stdout, stderr }: Ended): EngineError {
  const said = `${stderr}${Buffer.from(stdout).toString()}`.trim();
  const code = `exit status ${exitCode}`;
  return new EngineError("unknown", `${action} failed: ${said ? `${said}: ${code}` : code}`);
}
