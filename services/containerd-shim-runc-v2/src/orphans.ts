import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import { cgroupMounts } from "./shim-cgroup.ts";

const END_MS = 3000;
const STEP_MS = 10;

/**
 * End a container that its runtime can't end, because it isn't there any more or fails: by what the runtime wrote down of its
 * cgroups, in which are its processes and nobody else's.
 *
 * @param directory the runtime's state of the container; removed once nothing runs
 */
export async function endWithoutRuntime(directory: string): Promise<void> {
  const groups = cgroupsOf(directory).filter((group) => fs.existsSync(`${group}/cgroup.procs`));
  const members = () => [...new Set(groups.flatMap(membersOf))];
  for (const end = Date.now() + END_MS; members().length > 0 && Date.now() < end; await Bun.sleep(STEP_MS)) {
    for (const pid of members()) signal(pid);
    for (const group of groups) thaw(group);
  }
  if (members().length > 0) throw new Error(`processes ${members().join(", ")} don't end`);
  for (const group of groups) removeGroup(group);
  fs.rmSync(directory, { recursive: true, force: true });
}

function cgroupsOf(directory: string): string[] {
  const runc = readJson(`${directory}/state.json`) as { cgroup_paths?: Record<string, string> } | undefined;
  if (runc) return Object.values(runc.cgroup_paths ?? {}).filter(isBelowRoot);
  const crun = readJson(`${directory}/status`) as { "cgroup-path"?: string } | undefined;
  const group = crun?.["cgroup-path"] ?? "";
  return cgroupMounts()
    .map((point) => `${point}/${group.replace(/^\//, "")}`)
    .filter(isBelowRoot);
}

/** Whether it is not a hierarchy itself. */
function isBelowRoot(group: string): boolean {
  const path = group.replace(/\/+$/, "");
  return path !== "" && !cgroupMounts().includes(path);
}

/** Pids of a group and those below it. */
function membersOf(group: string): number[] {
  const own = readIfThere(`${group}/cgroup.procs`).split("\n").filter(Boolean).map(Number);
  return [...own, ...childrenOf(group).flatMap(membersOf)];
}

function childrenOf(group: string): string[] {
  try {
    const entries = fs.readdirSync(group, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => `${group}/${name}`);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!isErrno(error, "ESRCH")) throw error;
  }
}

/** A frozen process dies when it runs again. */
function thaw(group: string): void {
  for (const [file, value] of [
    ["freezer.state", "THAWED"],
    ["cgroup.freeze", "0"],
  ]) {
    if (fs.existsSync(`${group}/${file}`)) fs.writeFileSync(`${group}/${file}`, value ?? "");
  }
}

function removeGroup(group: string): void {
  for (const child of childrenOf(group)) removeGroup(child);
  try {
    fs.rmdirSync(group);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error; // the same one in another hierarchy's clothes
  }
}

function readIfThere(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENODEV")) return "";
    throw error;
  }
}

function readJson(file: string): unknown {
  const text = readIfThere(file);
  return text === "" ? undefined : JSON.parse(text);
}
