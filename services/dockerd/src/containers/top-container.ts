import { EngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Container } from "./container.ts";
import { hasProcess, requireRunning } from "./container-status.ts";

const PS_ARGS = /^[a-zA-Z0-9 ,=_+:%-]*$/;

/**
 * The processes of a container, as the host's ps shows them.
 * @param psArgs arguments of ps, which must print pids
 * @throws EngineError `conflict` unless it runs, `invalid_argument` for arguments that make no sense
 */
export async function topContainer(engine: Engine, container: Container, psArgs: string): Promise<object> {
  if (!PS_ARGS.test(psArgs)) throw new EngineError("invalid_argument", `invalid ps args: ${psArgs}`);
  requireRunning(container.id, container.record.state.status);
  const { processes } = await engine.containerd.tasks.listPids({ containerId: container.id });
  const pids = new Set(processes.map(({ pid }) => pid));
  const child = Bun.spawn(["ps", ...psArgs.split(" ").filter(Boolean)], { stdout: "pipe", stderr: "pipe" });
  const [output, complaint, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new EngineError("invalid_argument", `ps: ${complaint.trim()}`);
  return selectProcesses(output, pids);
}

/** Rows of ps whose PID column names one of the processes; the last column keeps its blanks. */
export function selectProcesses(
  output: string,
  pids: ReadonlySet<number>,
): { Titles: string[]; Processes: string[][] } {
  const [header = "", ...lines] = output.trimEnd().split("\n");
  const titles = header.trim().split(/\s+/);
  const column = titles.indexOf("PID");
  if (column < 0) throw new EngineError("invalid_argument", "Couldn't find PID field in ps output");
  const rows = lines
    .map((line) => splitFields(line.trim(), titles.length))
    .filter((fields) => pids.has(Number(fields[column])));
  return { Titles: titles, Processes: rows };
}

function splitFields(line: string, count: number): string[] {
  const fields = line.split(/\s+/);
  if (fields.length <= count) return fields;
  return [...fields.slice(0, count - 1), fields.slice(count - 1).join(" ")];
}

/** Set the terminal's size. @throws EngineError `conflict` unless it runs */
export async function resizeContainer(
  engine: Engine,
  container: Container,
  { height, width }: { height: number; width: number },
): Promise<void> {
  if (!hasProcess(container.record.state.status)) {
    throw new EngineError(
      "conflict",
      `cannot resize a stopped container: container ${container.id} is not running`,
    );
  }
  await engine.containerd.tasks.resizePty({ containerId: container.id, execId: "", height, width });
}
