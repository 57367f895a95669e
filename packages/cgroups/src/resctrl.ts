import { EngineError, isErrno } from "@longshore/errors";
import type { IntelRdt } from "@longshore/oci";
import { exists, mkdir, readText, readTextIfExists, rmdir, statfs, writeControl } from "@longshore/syscalls";
import { writeError } from "./write-settings.ts";

// Shares of caches and of memory bandwidth (config-linux.md#intelrdt, https://docs.kernel.org/filesystems/resctrl.html).

const MOUNTPOINT = "/sys/fs/resctrl";
const RDTGROUP_SUPER_MAGIC = 0x7655821;

/** What is kept of a container's group in the state file. */
export interface RdtState {
  /** Directory of the group. */
  path: string;
  /** Made for the container alone, and removed with it. */
  own: boolean;
  /** Directory of a monitoring group, which is always the container's own. */
  monitor?: string;
}

/** Where the resctrl file system is mounted; undefined when the processor, the kernel or the machine's set-up has none. */
export function resctrlRoot(): string | undefined {
  try {
    if (statfs(MOUNTPOINT).type === RDTGROUP_SUPER_MAGIC) return MOUNTPOINT;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
  const line = readText("/proc/self/mountinfo")
    .split("\n")
    .find((candidate) => candidate.includes(" - resctrl "));
  return line?.split(" ")[4];
}

/** @throws EngineError in the original's words for what can't be had here */
export function checkRdt(config: IntelRdt, root = resctrlRoot()): string {
  const refuse = (message: string): never => {
    throw new EngineError("unimplemented", message);
  };
  if (root === undefined) return refuse("intelRdt is specified in config, but Intel RDT is not enabled");
  const { closID = "", l3CacheSchema, memBwSchema } = config;
  if (closID === "." || closID === ".." || (closID.length > 1 && closID.includes("/"))) {
    throw new EngineError("invalid_argument", `invalid intelRdt.ClosID ${JSON.stringify(closID)}`);
  }
  if (l3CacheSchema && !exists(`${root}/info/L3`)) {
    refuse("intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled");
  }
  if (memBwSchema && !exists(`${root}/info/MB`)) {
    refuse("intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled");
  }
  return root;
}

const schemataOf = ({ l3CacheSchema, memBwSchema, schemata = [] }: IntelRdt): string =>
  [l3CacheSchema, memBwSchema, ...schemata]
    .filter(Boolean)
    .map((line) => `${line}\n`)
    .join("");

/**
 * Put a process into a group, made when it isn't there, and give that its schemata.
 *
 * @param id of the container: the group's name when the specification gives none
 */
export function joinRdt(
  config: IntelRdt,
  { id, pid }: { id: string; pid: number },
  root = checkRdt(config),
): RdtState {
  // A lone slash is the default group.
  const name = config.closID === "/" ? "" : config.closID || id;
  const path = name === "" ? root : `${root}/${name}`;
  const schemata = schemataOf(config);
  if (config.closID && schemata === "" && !exists(path)) {
    throw new EngineError(
      "not_found",
      `clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty): stat ${path}: no such file or directory`,
    );
  }
  const state: RdtState = { path, own: make(root, path) && !config.closID };
  try {
    write(root, `${path}/tasks`, String(pid));
    if (config.enableMonitoring || config.enableCMT || config.enableMBM) {
      state.monitor = `${path}/mon_groups/${id}`;
      make(root, state.monitor);
      write(root, `${state.monitor}/tasks`, String(pid));
    }
    if (schemata !== "") write(root, `${path}/schemata`, schemata);
  } catch (error) {
    leaveRdt(state);
    throw error;
  }
  return state;
}

/** New schemata for a container's group (`update`). */
export function updateRdt({ path }: RdtState, config: IntelRdt, root = checkRdt(config)): void {
  write(root, `${path}/schemata`, schemataOf(config));
}

/** Remove what was made for a container. Done twice it does nothing. */
export function leaveRdt({ path, own, monitor }: RdtState): void {
  for (const directory of [monitor, own ? path : undefined]) {
    if (directory === undefined) continue;
    try {
      rmdir(directory);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }
}

function make(root: string, path: string): boolean {
  try {
    mkdir(path);
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw withStatus(root, error instanceof Error ? error.message : String(error), error);
  }
}

function write(root: string, path: string, value: string): void {
  try {
    writeControl(path, value);
  } catch (error) {
    throw withStatus(root, `intelrdt: ${writeError(path, value, error).message}`, error);
  }
}

/** The kernel says in a file what it didn't like. */
function withStatus(root: string, message: string, cause: unknown): EngineError {
  const status = readTextIfExists(`${root}/info/last_cmd_status`)?.trim();
  const words = status === undefined ? "" : `, last_cmd_status: ${status}`;
  return new EngineError("internal", `${message}${words}`, { cause });
}
