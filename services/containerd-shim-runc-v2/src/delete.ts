import fs from "node:fs";
import path from "node:path";
import { DeleteResponse } from "@longshore/api/containerd/runtime/task/v2/shim";
import { isErrno } from "@longshore/errors";
import { now, parseTime } from "@longshore/events/publisher";
import { kill } from "@longshore/syscalls";
import type { Flags } from "./flags.ts";
import { groupOf, isServed } from "./group.ts";
import { endWithoutRuntime } from "./orphans.ts";
import { unmountAll } from "./rootfs.ts";
import { findRunc, Runc } from "./runc.ts";

const SIGKILL = 9;
/** What is told when nobody saw the exit: as if killed. */
const LOST_STATUS = 128 + SIGKILL;

/** `delete`: the shim is lost. End its container, clean up after it, and print a DeleteResponse. */
export async function deleteLost(flags: Flags): Promise<number> {
  const bundle = flags.bundle || process.cwd();
  const pid = readNumber(path.join(bundle, "init.pid"));
  const kept = readJson<{ binary: string; root: string; systemdCgroup: boolean }>(
    path.join(bundle, "options.json"),
  );
  const root = kept?.root ?? path.join("/run/containerd/runc", flags.namespace);
  const directory = path.join(root, flags.id);
  if (fs.existsSync(directory)) {
    try {
      const { binary = "", systemdCgroup = false } = kept ?? {};
      const runc = new Runc({ binary: findRunc(binary), root, systemdCgroup, bundle });
      await runc.run("OCI runtime delete failed", ["delete", "--force", flags.id]);
    } catch (error) {
      console.error(
        `${error instanceof Error ? error.message : error}; ending the container without its runtime`,
      );
      await endWithoutRuntime(directory);
    }
  }
  unmountAll(path.join(bundle, "rootfs"));
  removeSocket(bundle);
  const exit = readJson<{ exit_status: number; exited_at: string }>(path.join(bundle, "exits/init.json"));
  const response = DeleteResponse.encode({
    pid,
    exitStatus: exit?.exit_status ?? LOST_STATUS,
    exitedAt: exit ? parseTime(exit.exited_at) : now(),
  }).finish();
  fs.writeSync(1, response);
  return 0;
}

/** The lost process's socket; should it only hang, it goes first. One that serves a group may have other containers. */
function removeSocket(bundle: string): void {
  const address = readText(path.join(bundle, "address")) ?? "";
  const socket = address.startsWith("unix://") ? address.slice("unix://".length) : undefined;
  if (socket && groupOf(bundle) !== undefined && isServed(socket)) return;
  const shim = readNumber(path.join(bundle, "shim.pid"));
  if (shim > 0 && isOurs(shim, bundle)) kill(shim, SIGKILL);
  if (socket) fs.rmSync(socket, { force: true });
}

/** Whether the number still belongs to a shim of this bundle. */
function isOurs(pid: number, bundle: string): boolean {
  try {
    if (fs.readlinkSync(`/proc/${pid}/cwd`) !== fs.realpathSync(bundle)) return false;
    const executable = fs.readlinkSync(`/proc/${pid}/exe`);
    const [shown = ""] = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const sleeps = executable.startsWith("/memfd:") && path.basename(shown) === path.basename(process.argv0);
    return sleeps || executable === process.execPath;
  } catch {
    return false;
  }
}

function readText(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

function readNumber(file: string): number {
  return Number(readText(file) ?? 0) || 0;
}

function readJson<T>(file: string): T | undefined {
  const text = readText(file);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined; // torn by the crash that brought us here
  }
}
