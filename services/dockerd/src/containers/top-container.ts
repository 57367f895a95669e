import { EngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { hasProcess, requireRunning } from "./container-status.ts";

/** A column with a name of the user's: what it shows under `PID` needn't be one. */
const RENAMED_TO_PID = /\s+(\S*)=\s*(PID\S*)/g;

/**
 * The processes of a container, as the host's ps shows them.
 * @param psArgs arguments of ps, which must print pids
 * @throws EngineError `conflict` unless it runs, `invalid_argument` for arguments that make no sense
 */
export async function topContainer(engine: Engine, container: Container, psArgs: string): Promise<object> {
  for (const [, column, title] of psArgs.matchAll(RENAMED_TO_PID)) {
    if (column !== "pid")
      throw new EngineError("invalid_argument", `specifying "${column}=${title}" is not allowed`);
  }
  requireRunning(container.id, container.record.state.status);
  const { processes } = await engine.containerd.tasks.listPids({ containerId: container.id });
  const pids = processes.map(({ pid }) => pid);
  const args = psArgs.split(" ").filter(Boolean);
  let shown = await ps([...args, `-q${pids.join(",")}`]);
  // Some arguments don't go with a choice of processes.
  if (shown.code !== 0) shown = await ps(args);
  if (shown.code !== 0)
    throw new EngineError("invalid_argument", `ps: ${shown.complaint.trim().split("\n")[0]}`);
  const selected = selectProcesses(shown.output, new Set(pids));
  emitContainerEvent(engine, container, "top");
  return selected;
}

async function ps(args: readonly string[]): Promise<{ code: number; output: string; complaint: string }> {
  if (args.some((arg) => arg.includes("\0"))) return { code: 1, output: "", complaint: "invalid argument" };
  const child = Bun.spawn(["ps", ...args], { stdout: "pipe", stderr: "pipe" });
  const [output, complaint, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, output, complaint };
}

/**
 * Rows of ps whose PID column names one of the processes, each with those of its threads, which have none; the last column keeps its
 * blanks.
 * @throws EngineError `invalid_argument` when there is no such column
 */
export function selectProcesses(
  output: string,
  pids: ReadonlySet<number>,
): { Titles: string[]; Processes: string[][] } {
  const [header = "", ...lines] = output.trimEnd().split("\n");
  const titles = header.trim().split(/\s+/);
  const column = titles.indexOf("PID");
  if (column < 0) throw new EngineError("invalid_argument", "Couldn't find PID field in ps output");
  let isOurs = false;
  const rows = lines
    .map((line) => splitFields(line.trim(), titles.length))
    .filter((fields) => {
      const pid = fields[column];
      if (pid !== "-") isOurs = pids.has(Number(pid));
      return isOurs;
    });
  return { Titles: titles, Processes: rows };
}

function splitFields(line: string, count: number): string[] {
  const fields = line.split(/\s+/);
  if (fields.length <= count) return fields;
  return [...fields.slice(0, count - 1), fields.slice(count - 1).join(" ")];
}

/** Set the terminal's size; without one there is nothing to set. @throws EngineError `conflict` unless it runs */
export async function resizeContainer(
  engine: Engine,
  container: Container,
  { height, width }: { height: number; width: number },
): Promise<void> {
  if (!hasProcess(container.record.state.status))
    throw new EngineError("conflict", `container ${container.id} is not running`);
  if (container.record.config.Tty)
    await engine.containerd.tasks.resizePty({ containerId: container.id, execId: "", height, width });
  emitContainerEvent(engine, container, "resize", { height: String(height), width: String(width) });
}
