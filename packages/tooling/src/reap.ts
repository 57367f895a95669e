import fs from "node:fs";
import {
  P_ALL,
  PR_SET_CHILD_SUBREAPER,
  prctl,
  WEXITED,
  WNOHANG,
  WNOWAIT,
  waitId,
  waitPid,
} from "@longshore/syscalls";

/** So long what the command has started may take to end after it. */
const GRACE_MS = 5000;
const LEFT_RUNNING = 99;

/**
 * Run a command (this program's arguments; it runs on Bun) to its end, and reap whatever loses its parent meanwhile: process 1 of a container or
 * a chroot may not, and then a pid namespace that such a zombie had joined never ends. What it leaves running is named, ended, and a failure.
 */
prctl(PR_SET_CHILD_SUBREAPER, 1);
const child = Bun.spawn(process.argv.slice(2), { stdio: ["inherit", "inherit", "inherit"] });
let ended = false;

function reap(): void {
  for (;;) {
    let pid: number | undefined;
    try {
      pid = waitId(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT);
    } catch {
      return; // no children at all
    }
    // The command itself is Bun's to reap.
    if (pid === undefined || (pid === child.pid && !ended)) return;
    waitPid(pid, WNOHANG);
  }
}

/** All processes below one, nearest first. */
function descendants(pid: number | "self"): number[] {
  const children = entries(`/proc/${pid}/task`).flatMap((task) =>
    read(`/proc/${pid}/task/${task}/children`).split(" ").filter(Boolean).map(Number),
  );
  return [...children, ...children.flatMap(descendants)];
}

function entries(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch {
    return []; // it has ended
  }
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return ""; // it has ended
  }
}

/** @returns a line for each process that doesn't end by itself */
async function endLeft(): Promise<string[]> {
  const deadline = Date.now() + GRACE_MS;
  while (descendants("self").length > 0 && Date.now() < deadline) await Bun.sleep(50);
  const left = descendants("self");
  const lines = left.map((pid) => `${pid} ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim()}`);
  for (const pid of left) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // ended just now
    }
  }
  return lines;
}

process.on("SIGCHLD", reap);
// A signal may come before the handler, and stands for any number of ends.
setInterval(reap, 100);
const exitCode = await child.exited;
ended = true;
const status = child.signalCode === null ? exitCode : 1;
const left = await endLeft();
for (const line of left) console.log(`left running: ${line}`);
process.exit(status === 0 && left.length > 0 ? LEFT_RUNNING : status);
