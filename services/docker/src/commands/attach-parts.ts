import { CliError } from "../cli-error.ts";
import { type EngineClient, readText } from "../engine/client.ts";
import type { WaitAnswer } from "../engine/types.ts";
import { parseDetachKeys } from "../io/detach-keys.ts";
import { printError } from "../io/output.ts";
import { isTerminal, terminalSize } from "../io/terminal.ts";

/** Ask to be told a container's end; the engine listens when this resolves. */
export async function startWait(
  client: EngineClient,
  id: string,
  condition: "next-exit" | "removed" | "not-running",
): Promise<{ status(): Promise<number> }> {
  const answer = await client.send({
    method: "POST",
    path: `/containers/${id}/wait`,
    query: { condition: condition === "not-running" ? undefined : condition },
  });
  const result = readText(answer).then((text) => JSON.parse(text) as WaitAnswer);
  result.catch(() => undefined); // whoever asks for the status gets the error
  return {
    async status() {
      try {
        const { StatusCode, Error: failure } = await result;
        if (!failure) return StatusCode;
        printError(`Error waiting for container: ${failure.Message}`);
      } catch (error) {
        printError(`error waiting for container: ${error instanceof Error ? error.message : error}`);
      }
      return 125;
    },
  };
}

/** @throws CliError when a terminal is wanted for a stdin that is none */
export function checkTerminal(attachStdin: boolean, tty: boolean): void {
  if (attachStdin && tty && !isTerminal(0)) throw new CliError("the input device is not a TTY");
}

export function checkDetachKeys(keys: string): void {
  if (!keys) return;
  try {
    parseDetachKeys(keys);
  } catch (error) {
    throw new CliError(`invalid detach keys (${keys}): ${error instanceof Error ? error.message : error}`);
  }
}

const FORWARDED = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGCONT",
] as const;

/** Send the signals that we get on to the container. */
export function forwardSignals(client: EngineClient, id: string): void {
  for (const signal of FORWARDED) {
    process.on(signal, () => {
      const query = { signal: signal.slice("SIG".length) };
      // A container that has ended meanwhile can't be told any more.
      client.text({ method: "POST", path: `/containers/${id}/kill`, query }).catch(() => undefined);
    });
  }
}

const RESIZE_ATTEMPTS = 10;

/** Give the container's terminal the size of ours, now and when ours changes. */
export async function followTerminalSize(client: EngineClient, path: string): Promise<void> {
  if (!isTerminal(1)) return;
  const resize = async () => {
    const { height: h, width: w } = terminalSize();
    if (h > 0 || w > 0) await client.text({ method: "POST", path, query: { h, w } });
  };
  process.on("SIGWINCH", () => {
    resize().catch(() => undefined); // the next change of size tries again
  });
  try {
    await resize();
  } catch {
    void retry(resize);
  }
}

/** A process that has only just been started may not have its terminal yet. */
async function retry(resize: () => Promise<void>): Promise<void> {
  for (let attempt = 1; attempt <= RESIZE_ATTEMPTS; attempt += 1) {
    await Bun.sleep(attempt * 10);
    try {
      await resize();
      return;
    } catch {
      // tried again, and reported below
    }
  }
  printError("failed to resize tty, using default size");
}
