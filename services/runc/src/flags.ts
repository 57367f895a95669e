import { UsageError } from "@longshore/cli";

/** How a flag takes its value: a switch, one string, or any number of them. */
export type FlagKind = "switch" | "value" | "list";

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
    const bare = word.replace(/^--?/, "");
    const equals = bare.indexOf("=");
    const given = equals < 0 ? bare : bare.slice(0, equals);
    const name = aliases[given] ?? given;
    const kind = flags[name];
    if (kind === undefined) throw new UsageError(`flag provided but not defined: -${given}`);
    if (kind === "switch") {
      if (equals < 0 || bare.slice(equals + 1) === "true") parsed.switches.add(name);
      else if (bare.slice(equals + 1) !== "false")
        throw new UsageError(`invalid boolean value for -${given}`);
      continue;
    }
    const value = equals < 0 ? argv[++index] : bare.slice(equals + 1);
    if (value === undefined) throw new UsageError(`flag needs an argument: -${given}`);
    if (kind === "value") parsed.values.set(name, value);
    else parsed.lists.set(name, [...(parsed.lists.get(name) ?? []), value]);
  }
  parsed.args = argv.slice(index);
  return parsed;
}

/** {@link parseFlags} with the number of arguments checked. */
export function parseCommand(command: string, argv: readonly string[], syntax: CommandSyntax): Parsed {
  const parsed = parseFlags(argv, syntax);
  const [min, max] = syntax.args;
  const count = parsed.args.length;
  if (min === max && count !== min) {
    throw new UsageError(`runc: "${command}" requires exactly ${min} argument(s)`);
  }
  if (count < min) throw new UsageError(`runc: "${command}" requires a minimum of ${min} argument(s)`);
  if (count > max) throw new UsageError(`runc: "${command}" requires a maximum of ${max} argument(s)`);
  return parsed;
}
