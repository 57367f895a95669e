import { api } from "../engine-api.ts";
import type { World } from "../world.ts";
import type { EventWitness, StreamEvent } from "./witness.ts";
import { type Short, shortLog } from "./workload.ts";

/** A container that was asked for. */
export interface Started extends Short {
  /** The client was told that it runs. */
  acknowledged: boolean;
  id: string | undefined;
  error: string;
  /** What `docker wait` said. */
  waited?: number;
}

/** A container that is there after its round. */
export interface Found {
  name: string;
  id: string;
  acknowledged: boolean;
  /** Its process ran. */
  ran: boolean;
  state: { Status: string; ExitCode: number; Error: string; FinishedAt: string; StartedAt: string };
  log: { text: string; time: string }[];
}

/** How late an exit may be noted after the last line: a busy machine's scheduling. */
const EXIT_TOLERANCE_MS = 1500;

/** Look a container up; undefined when there is none of that name. */
export async function inspect(world: World, { name, acknowledged }: Started): Promise<Found | undefined> {
  const answer = await api(world, "GET", `/containers/${name}/json`);
  if (answer.status === 404) return undefined;
  const { Id: id, State: state } = JSON.parse(answer.body) as { Id: string; State: Found["state"] };
  const logs = await world.docker().run(["logs", "--timestamps", name]);
  const log = logs.stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => {
      const space = line.indexOf(" ");
      return { time: line.slice(0, space), text: line.slice(space + 1) };
    });
  return { name, id, acknowledged, ran: state.Status !== "created" && state.Error === "", state, log };
}

interface Evidence {
  events: StreamEvent[];
  witness: EventWitness;
}

/** What is wrong with a container after its round. */
export function checkShort(
  start: Started,
  found: Found | undefined,
  { events, witness }: Evidence,
): { faults: string[]; exitMs: number; lines: number } {
  const faults: string[] = [];
  const id = found?.id ?? start.id;
  const exits = events.filter(({ topic, event }) => topic === "/tasks/exit" && event.id === id);
  const starts = events.filter(({ topic, event }) => topic === "/tasks/start" && event.container_id === id);
  const dies = id === undefined ? [] : witness.of(id, "die");
  const what = () => JSON.stringify({ state: found?.state, error: start.error, waited: start.waited });
  if (!found) {
    if (start.acknowledged && !start.autoRemove) faults.push("is gone");
    if (start.acknowledged) {
      if (exits.length !== 1 || exits[0]?.event.exit_status !== start.code)
        faults.push(
          `(--rm) stream has exits ${exits.map(({ event }) => event.exit_status)}, not ${start.code}`,
        );
      if (dies.length !== 1 || dies[0]?.Actor.Attributes.exitCode !== String(start.code))
        faults.push(`(--rm) docker events has ${dies.length} dies ${what()}`);
    }
    return { faults, exitMs: 0, lines: 0 };
  }
  if (start.autoRemove && found.ran) faults.push(`(--rm) is still there: ${what()}`);
  const lines = found.log.map(({ text }) => text);
  if (!found.ran) {
    if (start.acknowledged) faults.push(`was acknowledged and did not run: ${what()}`);
    // A start that failed because a daemon went in the middle of it is taken back; its container may have run until then.
    if (
      starts.length > 0 &&
      found.state.Error === "" &&
      exits.every(({ event }) => event.exit_status !== 137)
    )
      faults.push(`ran, and is shown as if it had not: ${what()}, ${lines.length} lines`);
    return { faults, exitMs: 0, lines: 0 };
  }
  const { Status, ExitCode, FinishedAt } = found.state;
  if (Status !== "exited" || ExitCode !== start.code) faults.push(`not exited with ${start.code}: ${what()}`);
  if (start.waited !== start.code) faults.push(`docker wait: ${start.waited}, not ${start.code}`);
  const wanted = shortLog(start);
  if (lines.join("\n") !== wanted.join("\n"))
    faults.push(`log: ${lines.length} of ${wanted.length} lines, the last ${lines.at(-1)}`);
  const exitMs = Date.parse(FinishedAt) - Date.parse(found.log.at(-1)?.time ?? FinishedAt);
  if (exitMs < -EXIT_TOLERANCE_MS || exitMs > EXIT_TOLERANCE_MS)
    faults.push(`noted its end ${exitMs} ms after its last line`);
  if (exits.length !== 1 || exits[0]?.event.exit_status !== start.code)
    faults.push(`stream has exits ${exits.map(({ event }) => event.exit_status)}, not ${start.code}`);
  if (exits[0] && Date.parse(exits[0].event.exited_at ?? "") !== Date.parse(FinishedAt))
    faults.push(`ended at ${FinishedAt} for docker, at ${exits[0].event.exited_at} in the stream`);
  if (starts.length !== 1) faults.push(`stream has ${starts.length} starts`);
  if (dies.length !== 1 || dies[0]?.Actor.Attributes.exitCode !== String(start.code))
    faults.push(`docker events has dies ${JSON.stringify(dies)}, not ${start.code}`);
  return { faults, exitMs, lines: lines.length };
}
