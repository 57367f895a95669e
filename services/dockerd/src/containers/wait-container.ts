import { EngineError } from "@longshore/errors";
import type { Container, ExitStatus } from "./container.ts";
import { isRunning } from "./container-status.ts";

export type WaitCondition = "not-running" | "next-exit" | "removed";

/** @throws EngineError `invalid_argument` for an unknown condition */
export function parseWaitCondition(text: string | null): WaitCondition {
  if (text === null || text === "" || text === "not-running") return "not-running";
  if (text === "next-exit" || text === "removed") return text;
  throw new EngineError("invalid_argument", `invalid condition: ${JSON.stringify(text)}`);
}

/** The exit status, once the condition holds; rejects when the signal aborts. */
export function waitContainer(
  container: Container,
  condition: WaitCondition,
  signal: AbortSignal,
): Promise<ExitStatus> {
  if (condition === "not-running" && !isRunning(container.record.state.status)) {
    return Promise.resolve(container.exit);
  }
  const waiters = condition === "removed" ? container.removeWaiters : container.exitWaiters;
  return new Promise((resolve, reject) => {
    const abort = () => {
      waiters.delete(done);
      reject(signal.reason);
    };
    const done = (exit: ExitStatus) => {
      signal.removeEventListener("abort", abort);
      resolve(exit);
    };
    waiters.add(done);
    signal.addEventListener("abort", abort, { once: true });
  });
}
