import { UsageError } from "@longshore/cli";
import { writeAll } from "@longshore/syscalls";
import type { CommandSyntax, Parsed } from "./flags.ts";

export interface Globals {
  /** Absolute. */
  root: string;
  /** Whether cgroups are to be made through systemd. */
  systemdCgroup: boolean;
  /** The criu to use: a path, or a name on PATH. */
  criu: string;
}

/** A command: its flags and what it does; the result is the exit code. */
export interface Command extends CommandSyntax {
  run: (parsed: Parsed, globals: Globals) => number | Promise<number>;
}

/** No upper limit to the number of arguments. */
export const MANY = Number.POSITIVE_INFINITY;

/** stdout without the 11 ms that process.stdout takes. */
export const print = (text: string): void => writeAll(1, text);

/** A path of the command line, from the directory in which we were started. */
export function absolute(path: string): string {
  return path.startsWith("/") ? path : `${process.cwd()}/${path}`;
}

/** The id that a command was given; the syntax has made sure that it is there. */
export const idOf = ({ args }: Parsed): string => args[0] ?? "";

/** Ends runc with 3, which no other failure does. */
export class UnknownCommand extends UsageError {}

/** A failed exec ends runc with 255, which no other failure does. */
export class ExecFailure extends Error {
  override readonly name = "ExecFailure";
}
