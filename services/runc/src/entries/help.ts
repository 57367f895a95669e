import { COMMIT, VERSION } from "@longshore/cli";
import { SPEC_VERSION } from "@longshore/oci";
import { type Command, MANY, print, UnknownCommand } from "../command.ts";
import type { FlagKind } from "../flags.ts";
import { ARGUMENTS, FLAG_TEXTS, GLOBAL_TEXTS } from "../help-texts.ts";
import { commands as checkpoint } from "./checkpoint.ts";
import { commands as create } from "./create.ts";
import { commands as remove } from "./delete.ts";
import { commands as events } from "./events.ts";
import { commands as exec } from "./exec.ts";
import { commands as kill } from "./kill.ts";
import { commands as list } from "./list.ts";
import { commands as pause } from "./pause.ts";
import { commands as run } from "./run.ts";
import { commands as spec } from "./spec.ts";
import { commands as start } from "./start.ts";
import { commands as state } from "./state.ts";
import { commands as update } from "./update.ts";

export { runtime } from "../runtime.ts";

/** All commands, by name. */
function all(): Record<string, Command> {
  const unsorted = {
    ...create,
    ...run,
    ...start,
    ...remove,
    ...exec,
    ...kill,
    ...state,
    ...list,
    ...update,
    ...events,
    ...pause,
    ...spec,
    ...checkpoint,
  };
  return Object.fromEntries(Object.entries(unsorted).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Two columns, the second beginning where the longest of the first ends. */
function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([first]) => first.length));
  return rows.map(([first, second]) => `   ${first.padEnd(width)}  ${second}\n`).join("");
}

function globalHelp(): string {
  const commands = Object.entries(all()).map(([name, { usage }]) => [name, usage] as const);
  return [
    "NAME:\n   runc - Open Container Initiative runtime\n\n",
    "USAGE:\n   runc [global options] command [command options] [arguments...]\n\n",
    `VERSION:\n   ${version().slice("runc version ".length)}\nCOMMANDS:\n`,
    columns([...commands, ["help, h", "list all commands, or explain one"]]),
    "\nGLOBAL OPTIONS:\n",
    columns(GLOBAL_TEXTS),
  ].join("");
}

function flagHelp(name: string, kind: FlagKind, aliases: Record<string, string>): [string, string] {
  const short = Object.entries(aliases).filter(([, long]) => long === name);
  const value = kind === "switch" ? "" : " value";
  const names = [`--${name}`, ...short.map(([letter]) => `-${letter}`)];
  return [names.map((one) => `${one}${value}`).join(", "), FLAG_TEXTS[name] ?? ""];
}

/** The help of one command, or of all when there is none of the name. */
export function helpOf(name: string): string {
  const commands = all();
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command) return globalHelp();
  const { flags, aliases = {}, usage } = command;
  const options = Object.entries(flags).map(([flag, kind]) => flagHelp(flag, kind, aliases));
  const words = [
    `runc ${name}`,
    options.length > 0 && "[command options]",
    ARGUMENTS[name] ?? "<container-id>",
  ];
  return [
    `NAME:\n   runc ${name} - ${usage}\n\n`,
    `USAGE:\n   ${words.filter(Boolean).join(" ")}\n`,
    options.length > 0 ? `\nOPTIONS:\n${columns(options)}` : "",
  ].join("");
}

function version(): string {
  return `runc version ${VERSION}\n${COMMIT && `commit: ${COMMIT}\n`}spec: ${SPEC_VERSION}\n`;
}

export const commands: Record<string, Command> = {
  help: {
    flags: {},
    args: [0, MANY],
    usage: "print this",
    run: ({ args: [name] }) => {
      if (name !== undefined && !Object.hasOwn(all(), name)) {
        throw new UnknownCommand(`No help topic for '${name}'`);
      }
      print(helpOf(name ?? ""));
      return 0;
    },
  },
  version: {
    flags: {},
    args: [0, MANY],
    usage: "print the version",
    run: () => {
      print(version());
      return 0;
    },
  },
};
