import type { Rooted } from "@longshore/mounts";
import type { Process } from "@longshore/oci";
import { close, fstatfs, O_NONBLOCK, O_PATH, S_IFMT, S_IFREG, type Slot } from "@longshore/syscalls";
import { queueStatus, reopen } from "./reopen.ts";
import { StartError } from "./start-error.ts";

/** How much of a list of users is read. */
const PASSWD_BYTES = 65536;

const PROC_SUPER_MAGIC = 0x9fa0;

/** The value of a variable; of several of one name the last counts, as the original has it. */
export function environmentValue(env: readonly string[], name: string): string | undefined {
  return env.findLast((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1);
}

/**
 * Queue what finds out the environment: as the original gives it, of several of one name the last, in its place; HOME from the
 * container's /etc/passwd when it isn't given or empty.
 *
 * @returns the environment, to be asked for once the calls have been made
 */
export function prepareEnvironment(rooted: Rooted, process: Process): () => string[] {
  const env: string[] = [];
  const seen = new Set<string>();
  let home = false;
  const given = process.env ?? [];
  for (let index = given.length - 1; index >= 0; index--) {
    const entry = given[index] ?? "";
    const equals = entry.indexOf("=");
    if (equals < 0) throw new StartError("invalid environment variable: missing '='");
    if (equals === 0) throw new StartError("invalid environment variable: name cannot be empty");
    const name = entry.slice(0, equals);
    if (seen.has(name)) continue;
    seen.add(name);
    if (name === "HOME") {
      if (equals === entry.length - 1) continue;
      home = true;
    }
    env.push(entry);
  }
  env.reverse();
  if (home) return () => env;
  const passwd = queuePasswd(rooted);
  return () => [...env, `HOME=${homeOf(passwd(), process.user?.uid ?? 0)}`];
}

/**
 * Queue: point at the container's list of users.
 *
 * @returns reads it, once the calls have been made: its text, or nothing when there is none that is a file
 */
function queuePasswd(rooted: Rooted): () => string {
  const { hand } = rooted;
  const { arena } = hand.calls;
  const file = rooted.open("/etc/passwd", { flags: O_PATH, skipOnError: 1 });
  const status = queueStatus(hand, file);
  return () => {
    const fd = hand.result(file);
    if (fd < 0) return "";
    // Those of a procfs are regular files as well, and some do something when they are opened.
    if ((status().mode & S_IFMT) !== S_IFREG || fstatfs(fd).type === PROC_SUPER_MAGIC) {
      close(fd);
      return "";
    }
    const at = arena.room(PASSWD_BYTES);
    let length: Slot | undefined;
    reopen(hand, fd, { flags: O_NONBLOCK, about: "/etc/passwd", failed: 2 }, (opened) => {
      length = hand.call("read", [opened, arena.base + at, PASSWD_BYTES], { skipOnError: 0 });
      rooted.close(opened);
    });
    const bytes = length === undefined ? 0 : Math.max(0, hand.result(length));
    return arena.bytes.toString("utf8", at, at + bytes);
  };
}

/** The home directory of a user in the words of passwd(5); `/` for an unknown one. */
export function homeOf(passwd: string, uid: number): string {
  for (const line of passwd.split("\n")) {
    const [, , id, , , home] = line.split(":");
    if (id === String(uid) && home) return home;
  }
  return "/";
}
