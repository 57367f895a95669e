import {
  close,
  F_SETFD,
  FD_CLOEXEC,
  fcntl,
  readText,
  renameCommandLine,
  setProcessName,
} from "@longshore/syscalls";
import { finish } from "./run-server.ts";
import { serve } from "./serve.ts";
import { descriptorsOf, SLEEPER_NAME, type SleepDescriptors, type SleepState } from "./sleep-state.ts";

/** `wake FD`: a shim that slept (`sleep.ts`) goes on where it was; what it was is in that descriptor. */
export function wake(): void {
  const memory = Number(process.argv[3]);
  const state = JSON.parse(readText(`/proc/self/fd/${memory}`)) as SleepState & SleepDescriptors;
  for (const fd of [memory, state.executable, state.signals]) close(fd);
  const { watched, held } = descriptorsOf(state);
  for (const fd of [...watched, ...held]) fcntl(fd, F_SETFD, FD_CLOEXEC);
  setProcessName(SLEEPER_NAME);
  renameCommandLine(state.commandLine);
  finish(serve(state.flags, { slept: state }));
}
