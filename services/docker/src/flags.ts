import { CliError } from "./cli-error.ts";

/** What follows a flag: nothing, a value, or values of several uses. */
export type FlagKind = "bool" | "string" | "list";

export interface Flag {
  readonly name: string;
  readonly short?: string;
  readonly kind: FlagKind;
  readonly help: string;
  /** How the value is named in the help. */
  readonly value?: string;
  /** Check a value while the command line is read. @throws Error whose message follows `invalid argument …:` */
  readonly check?: (value: string) => void;
}

/** The parsed flags of a command, by name. */
export class FlagValues {
  readonly #values = new Map<string, string[]>();

  add(name: string, value: string): void {
    this.#values.set(name, [...this.list(name), value]);
  }

  set(name: string, value: string): void {
    this.#values.set(name, [value]);
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  bool(name: string): boolean {
    return this.string(name) === "true";
  }

  /** The last value given; empty when there is none. */
  string(name: string): string {
    return this.list(name).at(-1) ?? "";
  }

  list(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }
}

export interface ParsedArguments {
  flags: FlagValues;
  args: string[];
  /** `--help` stood among the flags. */
  help: boolean;
}

export interface ParseOptions {
  flags: readonly Flag[];
  /** Flags of the original that are known and not supported, with `-x` spellings beside the long ones. */
  unsupported?: readonly string[];
  /** Stop at the first argument, so that a container's command keeps its own flags. */
  stopAtArgument?: boolean;
}

const TRUE = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const FALSE = new Set(["0", "f", "F", "FALSE", "false", "False"]);

/**
 * Parse a command line as the original's flag library (pflag) does: `--name value`, `--name=value`, `-abc`, `-avalue`, `-a=value`, `--`.
 * @throws CliError with exit code 125, without the usage lines
 */
export function parseFlags(argv: readonly string[], options: ParseOptions): ParsedArguments {
  const parsed: ParsedArguments = { flags: new FlagValues(), args: [], help: false };
  const rest = [...argv];
  for (let token = rest.shift(); token !== undefined; token = rest.shift()) {
    if (token === "--") {
      parsed.args.push(...rest);
      break;
    }
    if (token.startsWith("--")) {
      parseLong(token, rest, options, parsed);
    } else if (token.startsWith("-") && token.length > 1) {
      parseShort(token, rest, options, parsed);
    } else {
      parsed.args.push(token);
      if (options.stopAtArgument) {
        parsed.args.push(...rest);
        break;
      }
    }
    if (parsed.help) break;
  }
  return parsed;
}

function parseLong(token: string, rest: string[], options: ParseOptions, parsed: ParsedArguments): void {
  const equals = token.indexOf("=");
  const name = equals < 0 ? token.slice(2) : token.slice(2, equals);
  if (name === "help") {
    parsed.help = true;
    return;
  }
  const flag = options.flags.find((candidate) => candidate.name === name);
  if (!flag) {
    if (options.unsupported?.includes(`--${name}`)) throw unsupported(`--${name}`);
    throw new CliError(`unknown flag: --${name}`, 125);
  }
  const inline = equals < 0 ? undefined : token.slice(equals + 1);
  const value = inline ?? (flag.kind === "bool" ? "true" : rest.shift());
  if (value === undefined) throw new CliError(`flag needs an argument: --${name}`, 125);
  store(flag, value, parsed.flags);
}

function parseShort(token: string, rest: string[], options: ParseOptions, parsed: ParsedArguments): void {
  for (let i = 1; i < token.length; i += 1) {
    const letter = token.charAt(i);
    const flag = options.flags.find(({ short }) => short === letter);
    if (!flag) {
      if (letter === "h" && token === "-h") {
        parsed.help = true;
        return;
      }
      if (options.unsupported?.includes(`-${letter}`)) throw unsupported(`-${letter}`);
      throw new CliError(`unknown shorthand flag: '${letter}' in -${token.slice(i)}`, 125);
    }
    const tail = token.slice(i + 1);
    if (flag.kind === "bool") {
      if (!tail.startsWith("=")) {
        store(flag, "true", parsed.flags);
        continue;
      }
      store(flag, tail.slice(1), parsed.flags);
      return;
    }
    const value = tail ? tail.replace(/^=/, "") : rest.shift();
    if (value === undefined)
      throw new CliError(`flag needs an argument: '${letter}' in -${token.slice(i)}`, 125);
    store(flag, value, parsed.flags);
    return;
  }
}

function store(flag: Flag, value: string, flags: FlagValues): void {
  try {
    if (flag.kind === "bool" && !TRUE.has(value) && !FALSE.has(value)) {
      throw new Error(`strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`);
    }
    flag.check?.(value);
  } catch (error) {
    const names = flag.short ? `-${flag.short}, --${flag.name}` : `--${flag.name}`;
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(`invalid argument ${JSON.stringify(value)} for "${names}" flag: ${why}`, 125);
  }
  if (flag.kind === "list") flags.add(flag.name, value);
  else flags.set(flag.name, flag.kind === "bool" ? String(TRUE.has(value)) : value);
}

function unsupported(flag: string): CliError {
  return new CliError(`flag ${flag} is not supported by this client yet`, 125);
}

/** A check for flags that hold an integer. */
export function checkInteger(value: string): void {
  if (!/^[+-]?\d+$/.test(value)) {
    throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
  }
}
