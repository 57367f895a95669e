import { EngineError, isErrno } from "@longshore/errors";
import type { Rooted } from "@longshore/mounts";
import type { Process } from "@longshore/oci";
import { type Hand, O_DIRECTORY, O_PATH } from "@longshore/syscalls";
import { reason, StartError } from "./start-error.ts";

const refused = (cwd: string, error: unknown) =>
  new StartError(`chdir to cwd (${JSON.stringify(cwd)}) set in config.json failed: ${reason(error)}`);

/**
 * Go into the working directory, so that nothing of the host can be it (CVE-2024-21626).
 *
 * @returns whether only the user of the process may go there, so that it must be tried again as that user
 */
export function enterDirectory(rooted: Rooted, { cwd }: Process): boolean {
  const { hand } = rooted;
  hand.call("fchdir", [rooted.root]);
  if (cwd === "/" || cwd === "") return false;
  if (!cwd.startsWith("/")) throw new EngineError("invalid_argument", "Cwd must be an absolute path");
  try {
    const directory = rooted.open(cwd, { flags: O_PATH | O_DIRECTORY });
    hand.call("fchdir", [directory], { about: cwd });
    rooted.close(directory);
    hand.run();
    return false;
  } catch (error) {
    if (isErrno(error, "EACCES", "EPERM")) return true;
    throw refused(cwd, error);
  }
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
