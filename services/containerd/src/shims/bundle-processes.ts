import fs from "node:fs";

/**
 * Kill the processes whose working directory is a bundle: its shim, or one that is only just starting. Only for a bundle whose shim
 * can't be spoken to.
 */
export function killProcessesIn(bundle: string): void {
  for (const name of fs.readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid || workingDirectory(pid) !== bundle) continue;
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

function workingDirectory(pid: number): string | undefined {
  try {
    return fs.readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined; // ended, or a kernel thread
  }
}
