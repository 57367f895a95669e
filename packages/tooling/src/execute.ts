import { spawn } from "node:child_process";
import { repoRoot } from "./paths.ts";

export interface Outcome {
  status: number | null;
  timedOut: boolean;
  output: string;
}

/** Run a command in a process group of its own, so that a hanging test's children end with it. */
export function execute(
  command: string,
  args: string[],
  { timeoutMs, echo = false, env = {} }: { timeoutMs: number; echo?: boolean; env?: Record<string, string> },
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: repoRoot,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, FORCE_COLOR: "0", ...env },
    });
    const chunks: Buffer[] = [];
    let timedOut = false;
    const killGroup = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // all of it has ended
      }
    };
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup();
    }, timeoutMs);
    process.once("exit", killGroup);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        if (echo) process.stdout.write(chunk);
      });
    }
    const end = (status: number | null) => {
      clearTimeout(timer);
      process.removeListener("exit", killGroup);
      resolve({ status, timedOut, output: Buffer.concat(chunks).toString() });
    };
    child.once("error", () => end(null));
    // Not "close": what a test left running may hold the pipes open for ever.
    child.once("exit", (status) => setImmediate(end, status));
  });
}
