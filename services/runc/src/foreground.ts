import { isErrno } from "@longshore/errors";
import { kill, WNOHANG, waitPid } from "@longshore/syscalls";

const FORWARDED: NodeJS.Signals[] = [
  "SIGTERM",
  "SIGINT",
  "SIGHUP",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGCONT",
  "SIGWINCH",
];

/** Wait for a child of ours, passing signals on to it; its exit status. */
export function waitInForeground(pid: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const look = (): void => {
    try {
      const exit = waitPid(pid, WNOHANG);
      if (!exit) return;
      clearInterval(timer);
      resolve(exit.status);
    } catch (error) {
      clearInterval(timer);
      reject(error);
    }
  };
  // The signal tells at once; the timer keeps the event loop alive, and covers the moment before the handler was there.
  const timer = setInterval(look, 100);
  process.on("SIGCHLD", look);
  for (const name of FORWARDED) {
    process.on(name, (_: NodeJS.Signals, number: number) => {
      try {
        kill(pid, number);
      } catch (error) {
        if (!isErrno(error, "ESRCH")) throw error;
      }
    });
  }
  look();
  return promise;
}
