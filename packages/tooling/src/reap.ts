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

/**
 * Run a command (this program's arguments; it runs on Bun) to its end, and reap whatever loses its parent meanwhile: process 1 of a container or
 * a chroot may not, and then a pid namespace that such a zombie had joined never ends.
 */
prctl(PR_SET_CHILD_SUBREAPER, 1);
const child = Bun.spawn(process.argv.slice(2), { stdio: ["inherit", "inherit", "inherit"] });

function reap(): void {
  for (;;) {
    let pid: number | undefined;
    try {
      pid = waitId(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT);
    } catch {
      return; // no children at all
    }
    // The command itself is Bun's to reap, and the end of this program.
    if (pid === undefined || pid === child.pid) return;
    waitPid(pid, WNOHANG);
  }
}

process.on("SIGCHLD", reap);
// A signal may come before the handler, and stands for any number of ends.
setInterval(reap, 100);
const status = await child.exited;
process.exit(child.signalCode === null ? status : 1);
