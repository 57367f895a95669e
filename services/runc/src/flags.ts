import { UsageError } from "@longshore/cli";

/** How a flag takes its value: a switch, one string, a whole number or a time as one string, or any number of strings or numbers. */
export type FlagKind = "switch" | "value" | "number" | "duration" | "list" | "numbers";

export interface CommandSyntax {
  flags: Record<string, FlagKind>;
  /** One-letter names. */
  aliases?: Record<string, string>;
  /** Fewest and most arguments; everything after the first one is taken as it is when there may be more. */
  args: readonly [min: number, max: number];
  usage: string;
}

export interface Parsed {
  switches: Set<string>;
  values: Map<string, string>;
  lists: Map<string, string[]>;
  args: string[];
  /** What follows the arguments that were asked for. */
  rest: string[];
}

/** A command line that makes no sense: the command's help is printed with it. */
export class IncorrectUsage extends UsageError {
  /** What stands after "Incorrect Usage". */
  readonly heading: string;

  constructor(message: string, heading: string) {
    super(message);
    this.heading = heading;
  }
}

const wrongFlag = (message: string) => new IncorrectUsage(message, `: ${message}`);

/** What Go's parser of flags takes for a truth value. */
function parseSwitch(text: string, flag: string): boolean {
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(text)) return false;
  throw wrongFlag(`invalid boolean value ${JSON.stringify(text)} for -${flag}: parse error`);
}

function checkValue(kind: FlagKind, text: string, flag: string): void {
  if (kind === "numbers" && !/^[+-]?\d+$/.test(text)) {
    const quoted = JSON.stringify(text);
    throw wrongFlag(
      `invalid value ${quoted} for flag -${flag}: strconv.ParseInt: parsing ${quoted}: invalid syntax`,
    );
  }
  const wrong =
    (kind === "number" && !/^[+-]?\d+$/.test(text)) ||
    (kind === "duration" && parseDuration(text) === undefined);
  if (wrong) throw wrongFlag(`invalid value ${JSON.stringify(text)} for flag -${flag}: parse error`);
}

/** A time as Go writes it, such as `1m30s` or `250ms`, in milliseconds. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.exec(text);
  if (!match) return undefined;
  const units: Record<string, number> = {
    ns: 1e-6,
    us: 1e-3,
    µs: 1e-3,
    ms: 1,
    s: 1000,
    m: 60_000,
    h: 3_600_000,
  };
  let total = 0;
  for (const [, number = "", unit = ""] of text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(number) * (units[unit] ?? 0);
  }
  return match[1] === "-" ? -total : total;
}

/** Flags before the first argument, in the manner of the original: `--name value`, `--name=value`, one dash or two. */
export function parseFlags(
  argv: readonly string[],
  { flags, aliases = {} }: Pick<CommandSyntax, "flags" | "aliases">,
): Parsed {
  const parsed: Parsed = { switches: new Set(), values: new Map(), lists: new Map(), args: [], rest: [] };
  let index = 0;
  for (; index < argv.length; index++) {
    const word = argv[index] ?? "";
    if (word === "--") {
      index++;
      break;
    }
    if (!word.startsWith("-") || word === "-") break;
    const bare = word.slice(word.startsWith("--") ? 2 : 1);
    const equals = bare.indexOf("=");
    const given = equals < 0 ? bare : bare.slice(0, equals);
    const name = Object.hasOwn(aliases, given) ? (aliases[given] ?? given) : given;
    const kind = Object.hasOwn(flags, name) ? flags[name] : undefined;
    if (kind === undefined) throw wrongFlag(`flag provided but not defined: -${given}`);
    if (kind === "switch") {
      if (equals < 0 || parseSwitch(bare.slice(equals + 1), given)) parsed.switches.add(name);
      else parsed.switches.delete(name);
      continue;
    }
    const value = equals < 0 ? argv[++index] : bare.slice(equals + 1);
    if (value === undefined) throw wrongFlag(`flag needs an argument: -${given}`);
    if (kind === "list" || kind === "numbers") {
      checkValue(kind, value, given);
      parsed.lists.set(name, [...(parsed.lists.get(name) ?? []), value]);
      continue;
    }
    if (kind !== "value") checkValue(kind, value, given);
    parsed.values.set(name, value);
  }
  parsed.args = argv.slice(index);
  return parsed;
}

/** {@link parseFlags} with the number of arguments checked. `--help` may stand among any command's flags. */
export function parseCommand(command: string, argv: readonly string[], syntax: CommandSyntax): Parsed {
  const parsed = parseFlags(argv, {
    flags: { ...syntax.flags, help: "switch" },
    aliases: { h: "help", ...syntax.aliases },
  });
  if (parsed.switches.has("help")) return parsed;
  const [min, max] = syntax.args;
  const count = parsed.args.length;
  const require = (what: string) => {
    const name = `${process.argv0}: ${JSON.stringify(command)}`;
    throw new IncorrectUsage(`${name} requires ${what} argument(s)`, ".");
  };
  if (min === max && count !== min) require(`exactly ${min}`);
  if (count < min) require(`a minimum of ${min}`);
  if (count > max) require(`a maximum of ${max}`);
  return parsed;
}
