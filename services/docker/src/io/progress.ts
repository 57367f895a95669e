import { CliError } from "../cli-error.ts";
import type { HttpAnswer } from "../engine/http.ts";
import { humanSize } from "../format/units.ts";
import { writeAll } from "./output.ts";
import { isTerminal, terminalSize } from "./terminal.ts";

/** One line of a progress answer. */
interface ProgressMessage {
  status?: string;
  id?: string;
  stream?: string;
  progressDetail?: { current?: number; total?: number; start?: number } | null;
  progress?: string;
  errorDetail?: { code?: number; message?: string } | null;
  error?: string;
  /** For programs. */
  aux?: unknown;
}

export interface ProgressOptions {
  fd: 1 | 2;
  /** Show nothing. */
  quiet: boolean;
  /** Called with what is for programs. */
  onAux?: (aux: unknown) => void;
}

const BAR_MIN_WIDTH = 110;
const DEFAULT_WIDTH = 200;

/**
 * Show the progress of a pull or the like: bars that move on a terminal, else one line for each change of state.
 * @throws CliError with the engine's message when the stream carries an error
 */
export async function showProgress(answer: HttpAnswer, { fd, quiet, onAux }: ProgressOptions): Promise<void> {
  const terminal = !quiet && isTerminal(fd);
  const width = terminal ? terminalSize().width || DEFAULT_WIDTH : 0;
  const lines = new Map<string, number>();
  for await (const message of jsonLines(answer)) {
    if (message.errorDetail || message.error) {
      throw new CliError(message.errorDetail?.message || message.error || "unknown error");
    }
    if (message.aux !== undefined && message.aux !== null) {
      onAux?.(message.aux);
      continue;
    }
    if (!quiet) writeAll(fd, terminal ? onTerminal(message, lines, width) : plain(message));
  }
}

async function* jsonLines({ body }: HttpAnswer): AsyncGenerator<ProgressMessage> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim()) yield JSON.parse(line) as ProgressMessage;
  }
  if (rest.trim()) yield JSON.parse(rest) as ProgressMessage;
}

function plain(message: ProgressMessage): string {
  if (bar(message, 0)) return "";
  return text(message);
}

function text({ id, stream, status = "" }: ProgressMessage): string {
  return (id ? `${id}: ` : "") + (stream ?? `${status}\n`);
}

/** Each id has its line, counted from the first that was shown; the cursor rests below the last. */
function onTerminal(message: ProgressMessage, lines: Map<string, number>, width: number): string {
  const { id, progressDetail, status = "" } = message;
  if (!id || !progressDetail) {
    lines.clear();
    return text(message);
  }
  const isNew = !lines.has(id);
  const line = lines.get(id) ?? lines.size;
  lines.set(id, line);
  const up = lines.size - line;
  const shown = `\u001b[2K\r${id}: ${status} ${bar(message, width)}\r`;
  return `${isNew ? "\n" : ""}\u001b[${up}A${shown}\u001b[${up}B`;
}

/** `[====>      ]  1.2MB/4MB`; empty when there is nothing to count. */
function bar({ progressDetail }: ProgressMessage, width: number): string {
  const { current = 0, total = 0 } = progressDetail ?? {};
  if (current <= 0 && total <= 0) return "";
  if (total <= 0) return humanSize(current).padStart(8);
  const done = Math.min(50, Math.trunc(Math.trunc((current / total) * 100) / 2));
  const box = width > BAR_MIN_WIDTH ? `[${"=".repeat(done)}>${" ".repeat(50 - done)}] ` : "";
  const counted = humanSize(current).padStart(8);
  return box + (current > total ? counted : `${counted}/${humanSize(total)}`);
}
