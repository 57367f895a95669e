import { EngineError } from "@longshore/errors";
import type { Process } from "@longshore/oci";
import { errnoText, type Hand, parseStat } from "@longshore/syscalls";
import { environmentValue } from "./environment.ts";
import { StartError } from "./start-error.ts";

/** The words of the command, of which there must be one. */
export function argsOf({ args }: Process): [string, ...string[]] {
  const [program, ...rest] = args ?? [];
  if (program === undefined) throw new EngineError("invalid_argument", "args must not be empty");
  return [program, ...rest];
}

/** The paths at which a program is looked for, in order. */
export function programCandidates(program: string, env: readonly string[]): string[] {
  if (program.includes("/")) return [program];
  const path = environmentValue(env, "PATH") ?? "";
  if (path === "") return [];
  return path
    .split(":")
    .map((directory) => `${directory === "" ? "." : directory.replace(/\/+$/, "")}/${program}`);
}

/** Find the program inside the container. */
export function findProgram(hand: Hand, program: string, env: readonly string[] = []): string {
  const { arena } = hand.calls;
  const found = programCandidates(program, env).map((path) => {
    const at = arena.room(144);
    return {
      path,
      at,
      result: hand.call("newfstatat", [-100, hand.text(path), arena.base + at, 0], { skipOnError: 0 }),
    };
  });
  hand.run();
  for (const { path, at, result } of found) {
    const errno = -hand.result(result);
    const mode = errno > 0 ? 0 : parseStat(arena.bytes, at).mode;
    const runnable = (mode & 0o170000) !== 0o040000 && (mode & 0o111) !== 0;
    if (runnable) return path;
    if (!program.includes("/")) continue;
    if (errno > 0)
      throw new StartError(`exec: ${JSON.stringify(program)}: stat ${program}: ${errnoText(errno)}`);
    const why = (mode & 0o170000) === 0o040000 ? "is a directory" : "permission denied";
    throw new StartError(`exec: ${JSON.stringify(program)}: ${why}`);
  }
  throw new StartError(`exec: ${JSON.stringify(program)}: executable file not found in $PATH`);
}
