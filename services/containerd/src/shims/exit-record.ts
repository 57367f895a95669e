import fs from "node:fs";
import path from "node:path";
import type { Timestamp } from "@longshore/api/google/protobuf/timestamp";
import { isErrno } from "@longshore/errors";
import { fromRfc3339 } from "../timestamp.ts";

/** How a process ended. */
export interface ProcessExit {
  /** Empty for the init process. */
  execId: string;
  pid: number;
  exitStatus: number;
  exitedAt: Timestamp;
}

/** What our shim writes, `exits/<exec id or "init">.json`. */
interface ExitFile {
  pid: number;
  exit_status: number;
  /** RFC 3339. */
  exited_at: string;
}

const INIT = "init";
const EXITS = "exits";
const TOLD = "told";

/** The exits that our shim wrote down in a bundle before it told anyone; other shims write none. */
export function readExitRecords(bundle: string): ProcessExit[] {
  return list(path.join(bundle, EXITS))
    .filter((name) => name.endsWith(".json"))
    .flatMap((name) => parse(path.join(bundle, EXITS, name), name.slice(0, -".json".length)));
}

/** Remember in the bundle that an exit was published, for a daemon that comes back. */
export function markTold(bundle: string, { execId, pid }: Pick<ProcessExit, "execId" | "pid">): void {
  // An exec process without a record was deleted meanwhile, or its shim writes none: nobody will ask.
  if (execId !== "" && !fs.existsSync(path.join(bundle, EXITS, `${execId}.json`))) return;
  const directory = path.join(bundle, TOLD);
  try {
    fs.mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (isErrno(error, "ENOENT")) return; // the bundle is gone, and with it the question
    if (!isErrno(error, "EEXIST")) throw error;
  }
  // An exec id may be used again, for another pid.
  fs.writeFileSync(path.join(directory, execId || INIT), String(pid));
}

/** An exec process was deleted, and its record with it. */
export function forgetTold(bundle: string, execId: string): void {
  fs.rmSync(path.join(bundle, TOLD, execId), { force: true });
}

export function wasTold(bundle: string, { execId, pid }: Pick<ProcessExit, "execId" | "pid">): boolean {
  try {
    return fs.readFileSync(path.join(bundle, TOLD, execId || INIT), "utf8") === String(pid);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

function parse(file: string, name: string): ProcessExit[] {
  try {
    const { pid, exit_status, exited_at } = JSON.parse(fs.readFileSync(file, "utf8")) as ExitFile;
    const execId = name === INIT ? "" : name;
    return [{ execId, pid, exitStatus: exit_status, exitedAt: fromRfc3339(exited_at) }];
  } catch (error) {
    // Torn by a crash while it was written, which is before anyone was told: the shim's answer must do.
    if (error instanceof SyntaxError || error instanceof RangeError || isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

function list(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}
