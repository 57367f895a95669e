import fs from "node:fs";
import path from "node:path";
import { readTextIfPresent } from "./files.ts";

/** How far an ingest has come. Sizes in bytes; `total` is 0 while unknown. */
export interface IngestStatus {
  readonly ref: string;
  readonly offset: number;
  readonly total: number;
  readonly startedAt: Date;
  readonly updatedAt: Date;
}

/** What an ingest directory says; undefined when it is not (or no longer) one. */
export function readStatus(dir: string): IngestStatus | undefined {
  const data = fs.statSync(path.join(dir, "data"), { throwIfNoEntry: false });
  const ref = readTextIfPresent(path.join(dir, "ref"));
  if (!data || ref === undefined) return undefined;
  const time = (name: string) => new Date(readTextIfPresent(path.join(dir, name)) ?? data.mtime);
  const total = Number(readTextIfPresent(path.join(dir, "total")) ?? 0);
  const updatedAt = time("updatedat");
  return {
    ref,
    offset: data.size,
    total: Number.isSafeInteger(total) ? total : 0,
    startedAt: time("startedat"),
    // Not every write touches the file `updatedat`.
    updatedAt: new Date(Math.max(data.mtimeMs, updatedAt.getTime())),
  };
}
