/**
 * The commands by name, each with the file in `entries/` that holds it. The words in front of a space are those of
 * `docker container …` and `docker image …`.
 */
const FILES: Readonly<Record<string, string>> = {
  attach: "attach",
  create: "create",
  exec: "exec",
  images: "images",
  info: "info",
  inspect: "inspect",
  kill: "lifecycle",
  logs: "logs",
  pause: "lifecycle",
  ps: "ps",
  pull: "pull",
  rename: "lifecycle",
  restart: "lifecycle",
  rm: "lifecycle",
  rmi: "rmi",
  run: "run",
  start: "start",
  stop: "lifecycle",
  tag: "tag",
  top: "top",
  unpause: "lifecycle",
  version: "version",
  wait: "lifecycle",
  "container inspect": "inspect",
  "image inspect": "inspect",
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

/** The command that the first words name, its file, and how many words that took. */
export function findCommand(
  words: readonly string[],
): { name: string; file: string; words: number } | undefined {
  const [first = "", second = ""] = words;
  const group = GROUPS.includes(first);
  const both = `${first} ${second}`;
  const own = first === "container" && CONTAINER_COMMANDS.includes(second) ? second : both;
  const name = group ? (ALIASES[both] ?? own) : first;
  const file = Object.hasOwn(FILES, name) ? FILES[name] : undefined;
  return file === undefined ? undefined : { name, file, words: group ? 2 : 1 };
}
