import fs from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { type ProcessIdentity, processIdentity, sameProcess } from "./process-identity.ts";

/** What `suite.json` holds. */
export interface SuiteRecord {
  owner: ProcessIdentity;
  daemons: Record<string, ProcessIdentity>;
}

/** A suite at these paths has an owner that still runs. */
export class AlreadyRunning extends Error {
  override readonly name = "AlreadyRunning";
  readonly ownerPid: number;

  constructor(ownerPid: number) {
    super(`the suite is already running (process ${ownerPid} started it; end it with: kill ${ownerPid})`);
    this.ownerPid = ownerPid;
  }
}

function readRecord(file: string): SuiteRecord | undefined {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as SuiteRecord;
  } catch {
    return undefined; // none, or half a write of a start that was killed
  }
}

/** @throws AlreadyRunning when another live process owns the suite at these paths */
export function refuseSecondOwner(file: string): void {
  const owner = readRecord(file)?.owner;
  if (owner && owner.pid !== process.pid && sameProcess(owner)) throw new AlreadyRunning(owner.pid);
}

export function writeRecord(file: string, daemons: Record<string, number>): void {
  const owner = processIdentity(process.pid);
  if (!owner) throw new Error("/proc does not show this process: is it mounted?");
  const record: SuiteRecord = { owner, daemons: {} };
  for (const [name, pid] of Object.entries(daemons)) {
    const identity = processIdentity(pid);
    if (identity) record.daemons[name] = identity;
  }
  const part = `${file}.${process.pid}`;
  fs.writeFileSync(part, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  fs.renameSync(part, file);
}

/** Daemons that a start left running because it was killed itself: name and pid. */
export function leftBehind(file: string): { name: string; pid: number }[] {
  const daemons = Object.entries(readRecord(file)?.daemons ?? {});
  return daemons.filter(([, known]) => sameProcess(known)).map(([name, { pid }]) => ({ name, pid }));
}

/**
 * Stop the daemons of an earlier start that was killed: SIGTERM, then SIGKILL after `graceMs`.
 *
 * @returns their names
 * @throws AlreadyRunning when that start still runs
 */
export async function stopLeftBehind(file: string, graceMs = 10_000): Promise<string[]> {
  refuseSecondOwner(file);
  const names = leftBehind(file).map(({ name }) => name);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const deadline = Date.now() + graceMs;
    for (const { pid } of leftBehind(file)) process.kill(pid, signal);
    while (leftBehind(file).length > 0 && Date.now() < deadline) await delay(20);
  }
  fs.rmSync(file, { force: true });
  return names;
}
