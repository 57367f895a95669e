import { parseArgs } from "node:util";
import { UsageError } from "@longshore/cli";

export interface Option {
  readonly short?: string;
  /** What its value is called in the help; without one it is a switch. */
  readonly value?: string;
  /** May be given several times. */
  readonly repeatable?: boolean;
  readonly help: string;
}

export type Options = Readonly<Record<string, Option>>;

export interface Command {
  /** One line. */
  readonly summary: string;
  /** Its arguments: `REF`, `SOURCE DESTINATION`. */
  readonly usage: string;
  /** How many arguments it takes, at least and at most. */
  readonly arity: readonly [number, number];
  /** More lines for its help. */
  readonly details?: string;
  readonly options: Options;
  readonly load: () => Promise<(args: Arguments, signal: AbortSignal) => Promise<number>>;
}

/** A command line that was understood. */
export class Arguments {
  readonly positionals: readonly string[];
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(positionals: readonly string[], values: Readonly<Record<string, unknown>>) {
    this.positionals = positionals;
    this.#values = values;
  }

  /** An argument that the command cannot do without. */
  positional(index: number): string {
    const value = this.positionals[index];
    if (value === undefined) throw new UsageError("an argument is missing");
    return value;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  list(name: string): string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.map(String) : [];
  }
}

/** @throws UsageError for options that the command doesn't know, and for too few or too many arguments */
export function parseArguments(name: string, command: Command, argv: string[]): Arguments {
  const options = Object.fromEntries(
    Object.entries(command.options).map(([key, { short, value, repeatable }]) => [
      key,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        ...(short !== undefined && { short }),
        ...(repeatable && { multiple: true }),
      },
    ]),
  );
  const { values, positionals } = (() => {
    try {
      return parseArgs({ args: argv, options, allowPositionals: true, strict: true });
    } catch (error) {
      throw new UsageError(error instanceof Error ? error.message : String(error));
    }
  })();
  const [min, max] = command.arity;
  if (positionals.length < min || positionals.length > max) {
    const wanted = command.usage === "" ? "no arguments" : command.usage;
    throw new UsageError(`${name} takes ${wanted}, not ${positionals.length} arguments`);
  }
  return new Arguments(positionals, values);
}

export function commandHelp(name: string, { summary, usage, details, options }: Command): string {
  const rows = Object.entries(options).map(([key, { short, value, help }]) => {
    const flag = `${short === undefined ? "    " : `-${short}, `}--${key}${value === undefined ? "" : ` ${value}`}`;
    return [flag, help] as const;
  });
  const width = Math.max(0, ...rows.map(([flag]) => flag.length));
  return [
    `Usage: registry-client ${[name, "[OPTIONS]", usage].filter(Boolean).join(" ")}`,
    "",
    summary,
    ...(details ? ["", details] : []),
    "",
    "Options:",
    ...rows.map(([flag, help]) => `  ${flag.padEnd(width)}   ${help}`),
    `  ${"-h, --help".padEnd(width)}   Show this`,
  ].join("\n");
}
