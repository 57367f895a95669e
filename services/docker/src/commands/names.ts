/**
 * The commands by name, each with the file in `entries/` that holds it. The words in front of a space are those of
 * `docker container …` and `docker image …`.
 */
const FILES: Readonly<Record<string, string>> = {
  attach: "attach",
  commit: "archives",
  cp: "cp",
  create: "create",
  diff: "diff",
  events: "events",
  exec: "exec",
  export: "archives",
  history: "history",
  images: "images",
  import: "archives",
  info: "info",
  inspect: "inspect",
  kill: "lifecycle",
  load: "archives",
  login: "login",
  logout: "login",
  logs: "logs",
  pause: "lifecycle",
  port: "port",
  ps: "ps",
  pull: "pull",
  push: "push",
  rename: "lifecycle",
  restart: "lifecycle",
  rm: "lifecycle",
  rmi: "rmi",
  run: "run",
  save: "archives",
  search: "search",
  start: "start",
  stats: "stats",
  stop: "lifecycle",
  tag: "tag",
  top: "top",
  unpause: "lifecycle",
  update: "update",
  version: "version",
  wait: "lifecycle",
  "container inspect": "inspect",
  "context create": "context",
  "context export": "context",
  "context import": "context",
  "context inspect": "context",
  "context ls": "context",
  "context rm": "context",
  "context show": "context",
  "context update": "context",
  "context use": "context",
  "container prune": "prune",
  "image inspect": "inspect",
  "image prune": "prune",
  "manifest inspect": "manifest",
  "network connect": "network",
  "network create": "network",
  "network disconnect": "network",
  "network inspect": "inspect",
  "network ls": "network",
  "network prune": "network",
  "network rm": "network",
  "system df": "disk-usage",
  "system dial-stdio": "dial-stdio",
  "system prune": "prune",
  "volume create": "volume",
  "volume inspect": "inspect",
  "volume ls": "volume",
  "volume prune": "volume",
  "volume rm": "volume",
};

/** Other names of the same commands. */
const ALIASES: Readonly<Record<string, string>> = {
  "container ls": "ps",
  "container list": "ps",
  "container ps": "ps",
  "container remove": "rm",
  "context list": "context ls",
  "context remove": "context rm",
  "image history": "history",
  "image import": "import",
  "image load": "load",
  "image ls": "images",
  "image list": "images",
  "image pull": "pull",
  "image push": "push",
  "image tag": "tag",
  "image rm": "rmi",
  "image save": "save",
  "image remove": "rmi",
  "network list": "network ls",
  "network remove": "network rm",
  "system events": "events",
  "volume list": "volume ls",
  "volume remove": "volume rm",
  "system info": "info",
};

const CONTAINER_COMMANDS =
  "attach commit cp create diff exec export kill logs pause port rename restart rm run start stats stop top unpause update wait".split(
    " ",
  );

/**
 * Commands of the original that this client doesn't have, by their first word or first two. What needs an engine in a swarm, managed plugins, checkpoints or builds would
 * be refused by ours as well.
 */
const UNSUPPORTED: readonly string[] = [
  ..."bake build builder buildx checkpoint compose config node plugin secret service stack swarm trust".split(
    " ",
  ),
  "image build",
  "manifest annotate",
  "manifest create",
  "manifest push",
  "manifest rm",
  "volume update",
];

/** The original's command that the words name and that this client doesn't have; undefined when it is none of the original's. */
export function unsupportedCommand([first = "", second = ""]: readonly string[]): string | undefined {
  const both = `${first} ${second}`;
  if (UNSUPPORTED.includes(both)) return both;
  return UNSUPPORTED.includes(first) ? first : undefined;
}

/** Management words, under which the commands may also be called. */
export const GROUPS: readonly string[] = [
  "container",
  "context",
  "image",
  "manifest",
  "network",
  "system",
  "volume",
];

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
