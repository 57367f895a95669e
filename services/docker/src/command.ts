import { CliError } from "./cli-error.ts";
import type { EngineClient } from "./engine/client.ts";
import { type Flag, type FlagValues, type ParsedArguments, parseFlags } from "./flags.ts";

/** How many arguments a command takes. */
export interface Arity {
  readonly min: number;
  readonly max?: number;
}

export interface Command {
  /** `docker run` */
  readonly name: string;
  /** What follows the name in the usage line. */
  readonly usage: string;
  readonly summary: string;
  readonly arity: Arity;
  readonly flags: readonly Flag[];
  readonly unsupported?: readonly string[];
  /** Flags end at the first argument. */
  readonly stopAtArgument?: boolean;
  /** The exit code. */
  readonly run: (invocation: Invocation) => Promise<number>;
}

export interface Invocation {
  readonly client: EngineClient;
  readonly flags: FlagValues;
  readonly args: readonly string[];
}

/** @throws CliError with Docker's words and exit codes for a wrong command line */
export function parseCommandLine(command: Command, argv: readonly string[]): ParsedArguments {
  let parsed: ParsedArguments;
  try {
    parsed = parseFlags(argv, command);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(
      `${error.message}\n\n${usageLine(command)}\n\n${hint("Run", command)}`,
      error.exitCode,
    );
  }
  if (!parsed.help) checkArity(command, parsed.args.length);
  return parsed;
}

function checkArity(command: Command, given: number): void {
  const { min, max } = command.arity;
  if (given >= min && (max === undefined || given <= max)) return;
  const plural = (n: number) => `${n} argument${n === 1 ? "" : "s"}`;
  const wrong = (wants: string, verb: string) =>
    new CliError(`docker: '${command.name}' ${wants}\n\n${usageLine(command)}\n\n${hint(verb, command)}`);
  if (max === undefined) throw wrong(`requires at least ${plural(min)}`, "See");
  if (max === 0) throw wrong("accepts no arguments", "Run");
  if (min === max) throw wrong(`requires ${plural(min)}`, "Run");
  throw wrong(given < min ? `requires at least ${plural(min)}` : `requires at most ${plural(max)}`, "Run");
}

export function usageLine({ name, usage }: Command): string {
  return `Usage:  ${name}${usage && ` ${usage}`}`;
}

function hint(verb: string, { name }: Command): string {
  return `${verb} '${name} --help' for more information`;
}

/** What `--help` prints. */
export function commandHelp(command: Command): string {
  const rows = command.flags.map((flag) => {
    const short = flag.short ? `-${flag.short}, ` : "    ";
    const value = flag.kind === "bool" ? "" : ` ${flag.value ?? (flag.kind === "list" ? "list" : "string")}`;
    return { left: `  ${short}--${flag.name}${value}`, help: flag.help };
  });
  const width = Math.max(0, ...rows.map(({ left }) => left.length)) + 3;
  const options = rows.map(({ left, help }) => left.padEnd(width) + help);
  return [
    usageLine(command),
    "",
    command.summary,
    ...(options.length > 0 ? ["", "Options:", ...options] : []),
  ].join("\n");
}
