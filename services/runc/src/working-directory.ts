import { EngineError, type Errno, isErrno } from "@longshore/errors";
import type { Rooted } from "@longshore/mounts";
import type { Process } from "@longshore/oci";
import { type Hand, O_DIRECTORY, O_PATH } from "@longshore/syscalls";
import { reason, StartError } from "./start-error.ts";

const refused = (cwd: string, error: unknown) =>
  new StartError(`chdir to cwd (${JSON.stringify(cwd)}) set in config.json failed: ${reason(error)}`);

/** What has come of {@link enterDirectory}, once its calls were made. */
export interface Entered {
  /** Only the user of the process may go there, so that it must be tried again as that user. */
  asUser: boolean;
}

/** Queue: go into the working directory, so that nothing of the host can be it (CVE-2024-21626). */
export function enterDirectory(rooted: Rooted, { cwd }: Process): Entered {
  const { hand } = rooted;
  const entered: Entered = { asUser: false };
  hand.call("fchdir", [rooted.root]);
  if (cwd === "/" || cwd === "") return entered;
  if (!cwd.startsWith("/")) throw new EngineError("invalid_argument", "Cwd must be an absolute path");
  const recover = (skip: number) => (error: Errno) => {
    if (!isErrno(error, "EACCES", "EPERM")) throw refused(cwd, error);
    entered.asUser = true;
    return skip;
  };
  const directory = rooted.open(cwd, { flags: O_PATH | O_DIRECTORY, recover: recover(2) });
  hand.call("fchdir", [directory], { about: cwd, recover: recover(0) });
  rooted.close(directory);
  return entered;
}

/** {@link enterDirectory} again, with the rights of the process's user. */
export function enterDirectoryAsUser(hand: Hand, { cwd }: Process): void {
  const { arena } = hand.calls;
  const at = arena.room(4096);
  try {
    hand.call("chdir", [hand.text(cwd)], { about: cwd });
    hand.call("getcwd", [arena.base + at, 4096], { about: cwd });
    hand.run();
  } catch (error) {
    throw refused(cwd, error);
  }
  // The kernel says "(unreachable)" of what isn't below the root.
  if (arena.bytes[at] !== 0x2f) {
    throw new StartError(
      "current working directory is outside of container mount namespace root -- possible container breakout detected",
    );
  }
}
