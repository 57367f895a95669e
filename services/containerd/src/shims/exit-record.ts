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
export function markTold(bundle: string, execId: string): void {
  const directory = path.join(bundle, TOLD);
  try {
    fs.mkdirSync(directory, { recursive: false, mode: 0o700 });
  } catch (error) {
    if (isErrno(error, "ENOENT")) return; // the bundle is gone, and with it the question
    if (!isErrno(error, "EEXIST")) throw error;
  }
  fs.writeFileSync(path.join(directory, execId || INIT), "");
}

export function wasTold(bundle: string, execId: string): boolean {
  return fs.existsSync(path.join(bundle, TOLD, execId || INIT));
}

function parse(file: string, name: string): ProcessExit[] {
  try {
    const record = JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, unknown>;
    const exitedAt = record.exitedAt ?? record.exited_at;
    return [
      {
        execId: name === INIT ? "" : name,
        pid: Number(record.pid ?? 0),
        exitStatus: Number(record.exitStatus ?? record.exit_status ?? 0),
        exitedAt: fromRfc3339(String(exitedAt)),
      },
    ];
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
