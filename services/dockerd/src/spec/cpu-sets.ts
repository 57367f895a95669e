import fs from "node:fs";
import { EngineError, isErrno } from "@longshore/errors";
import type { Resources } from "../containers/container-config.ts";

const SETS = [
  { field: "CpusetCpus", what: "cpuset cpus", told: "CPUs", file: "/sys/devices/system/cpu/online" },
  { field: "CpusetMems", what: "cpuset mems", told: "memory nodes", file: "/sys/devices/system/node/online" },
] as const;

/** @throws EngineError `invalid_argument` in Docker's words for CPUs and memory nodes that the host hasn't */
export function checkCpus(resources: Resources): void {
  const cpus = parseSet(online("/sys/devices/system/cpu/online"))?.size ?? 0;
  if (cpus > 0 && resources.NanoCpus > cpus * 1e9) {
    throw invalid(`range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  }
  for (const { field, what, told, file } of SETS) {
    const asked = resources[field];
    if (asked === "") continue;
    const wanted = parseSet(asked);
    if (wanted === undefined) throw invalid(`Invalid value ${asked} for ${what}: invalid format: ${asked}`);
    const available = online(file);
    const there = parseSet(available) ?? new Set();
    // A kernel without memory nodes doesn't say which there are.
    if (there.size > 0 && ![...wanted].every((one) => there.has(one))) {
      throw invalid(`Requested ${told} are not available - requested ${asked}, available: ${available}`);
    }
  }
}

/** The numbers of `0-3,7`; undefined for what is no such list. */
export function parseSet(text: string): Set<number> | undefined {
  const numbers = new Set<number>();
  for (const part of text.split(",")) {
    const [, first, last] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? [];
    if (first === undefined || Number(last ?? first) < Number(first)) return undefined;
    for (let n = Number(first); n <= Number(last ?? first); n++) numbers.add(n);
  }
  return numbers;
}

function online(file: string): string {
  try {
    return fs.readFileSync(file, "utf8").trim();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    throw error;
  }
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
