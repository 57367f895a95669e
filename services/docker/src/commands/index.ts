import type { Command } from "../command.ts";

type Load = () => Command;

/**
 * The commands by name, each loaded when it is asked for: what `run` does not need, it does not pay for. The words in front of a
 * space are those of `docker container …` and `docker image …`.
 */
export const COMMANDS: Readonly<Record<string, Load>> = {
  attach: () => (require("./attach.ts") as typeof import("./attach.ts")).attach,
  create: () => (require("./create.ts") as typeof import("./create.ts")).create,
  exec: () => (require("./exec.ts") as typeof import("./exec.ts")).exec,
  images: () => (require("./images.ts") as typeof import("./images.ts")).images,
  info: () => (require("./info.ts") as typeof import("./info.ts")).info,
  inspect: () => (require("./inspect.ts") as typeof import("./inspect.ts")).inspect,
  kill: () => (require("./lifecycle.ts") as typeof import("./lifecycle.ts")).kill,
  logs: () => (require("./logs.ts") as typeof import("./logs.ts")).logs,
  pause: () => (require("./lifecycle.ts") as typeof import("./lifecycle.ts")).pause,
  ps: () => (require("./ps.ts") as typeof import("./ps.ts")).ps,
  pull: () => (require("./pull.ts") as typeof import("./pull.ts")).pull,
  rename: () => (require("./lifecycle.ts") as typeof import("./lifecycle.ts")).rename,
  restart: () => (require("./lifecycle.ts") as typeof import("./lifecycle.ts")).restart,
  rm: () => (require("./lifecycle.ts") as typeof import("./lifecycle.ts")).rm,
  rmi: () => (require("./rmi.ts") as typeof import("./rmi.ts")).rmi,
  run: () => (require("./run.ts") as typeof import("./run.ts")).run,
  start: () => (require("./start.ts") as typeof import("./start.ts")).start,
  stop: () => (require("./lifecycle.ts") as typeof import("./lifecycle.ts")).stop,
  tag: () => (require("./tag.ts") as typeof import("./tag.ts")).tag,
  top: () => (require("./top.ts") as typeof import("./top.ts")).top,
  unpause: () => (require("./lifecycle.ts") as typeof import("./lifecycle.ts")).unpause,
  version: () => (require("./version.ts") as typeof import("./version.ts")).version,
  wait: () => (require("./lifecycle.ts") as typeof import("./lifecycle.ts")).wait,
  "container inspect": () => (require("./inspect.ts") as typeof import("./inspect.ts")).inspectContainer,
  "image inspect": () => (require("./inspect.ts") as typeof import("./inspect.ts")).inspectImage,
};

/** Other names of the same commands. */
const ALIASES: Readonly<Record<string, string>> = {
  "container ls": "ps",
  "container list": "ps",
  "container ps": "ps",
  "container remove": "rm",
  "image ls": "images",
  "image list": "images",
  "image pull": "pull",
  "image tag": "tag",
  "image rm": "rmi",
  "image remove": "rmi",
  "system info": "info",
};

const CONTAINER_COMMANDS =
  "attach create exec kill logs pause rename restart rm run start stop top unpause wait".split(" ");

/** Management words, under which the commands may also be called. */
export const GROUPS: readonly string[] = ["container", "image", "system"];

/** The command that the first words name, and how many words that took. */
export function findCommand(words: readonly string[]): { load: Load; words: number } | undefined {
  const [first = "", second = ""] = words;
  if (!GROUPS.includes(first)) {
    const load = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
    return load && { load, words: 1 };
  }
  const both = `${first} ${second}`;
  const own = first === "container" && CONTAINER_COMMANDS.includes(second) ? second : both;
  const name = ALIASES[both] ?? own;
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  return load && { load, words: 2 };
}
