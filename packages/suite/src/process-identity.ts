import fs from "node:fs";

/** A process for good: its number may be given to another one later, its start time tells them apart. */
export interface ProcessIdentity {
  pid: number;
  /** In clock ticks since boot, `/proc/<pid>/stat` field 22. */
  startTime: string;
}

/** The identity of a live process; undefined when there is none, or only its zombie. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined; // gone
  }
  // The name stands in brackets and may hold anything: what follows starts at field 3.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  const startTime = fields[19];
  if (state === "Z" || state === "X" || startTime === undefined) return undefined;
  return { pid, startTime };
}

/** Whether this very process still runs. */
export function sameProcess(known: ProcessIdentity): boolean {
  return processIdentity(known.pid)?.startTime === known.startTime;
}
