import { spawn } from "node:child_process";
import { performance } from "node:perf_hooks";

/** Nothing that is measured takes nearly as long; whoever does hangs. */
const TIMEOUT_MS = 30_000;

export interface CommandOptions {
  readonly env?: Record<string, string>;
  /** It gives its stdout and stderr to something that lives on: don't wait for their ends. */
  readonly quiet?: boolean;
  /** Instead of half a minute. */
  readonly timeoutMs?: number;
}

/**
 * Run a command that must succeed; returns what it took in milliseconds, and what it printed.
 *
 * @throws Error with its stderr; also when it takes too long, it is killed then
 */
export function timed(
  argv: readonly string[],
  { env = {}, quiet = false, timeoutMs = TIMEOUT_MS }: CommandOptions = {},
): Promise<{ ms: number; stdout: string }> {
  const [file = "", ...args] = argv;
  return new Promise((resolve, reject) => {
    let ms = 0;
    let stdout = "";
    let stderr = "";
    const started = performance.now();
    const child = spawn(file, args, {
      stdio: quiet ? ["ignore", "ignore", "inherit"] : ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
      timeout: timeoutMs,
      killSignal: "SIGKILL",
    });
    child.stdout?.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr?.on("data", (chunk) => {
      stderr += chunk;
    });
    child.once("error", reject);
    child.once("exit", () => {
      ms = performance.now() - started;
    });
    child.once("close", (code, signal) => {
      if (code === 0) resolve({ ms, stdout: stdout.trim() });
      else reject(new Error(`${argv.join(" ")}: ${signal ?? `exit status ${code}`} ${stderr.trim()}`));
    });
  });
}
