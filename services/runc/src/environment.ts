import type { Rooted } from "@longshore/mounts";
import type { Process } from "@longshore/oci";
import { StartError } from "./start-error.ts";

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

/** Queue: read the container's list of users; its text, empty when there is none. */
function queuePasswd(rooted: Rooted): () => string {
  const { hand } = rooted;
  const { arena } = hand.calls;
  const size = 65536;
  const at = arena.room(size);
  const file = rooted.open("/etc/passwd", { flags: 0o4000, skipOnError: 2 });
  const length = hand.call("read", [file, arena.base + at, size], { skipOnError: 0 });
  rooted.close(file);
  return () => {
    const bytes = hand.result(file) < 0 ? 0 : Math.max(0, hand.result(length));
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
