import { UsageError } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { exists, kill, readTextIfExists, stat, writeAll, writeFile } from "@longshore/syscalls";
import { type CommandSyntax, type Parsed, parseCommand } from "./flags.ts";
import { containerFor, deleteContainer, signal, startContainer } from "./lifecycle.ts";
import { Container } from "./state.ts";

export interface Globals {
  root: string;
}

/** A command: its flags and what it does; the result is the exit code. */
interface Command extends CommandSyntax {
  run: (parsed: Parsed, globals: Globals) => number | Promise<number>;
}

const MANY = Number.POSITIVE_INFINITY;

/** stdout without the 11 ms that process.stdout takes. */
const print = (text: string) => writeAll(1, text);

const CREATE_FLAGS = {
  bundle: "value",
  "console-socket": "value",
  "pid-file": "value",
  "no-pivot": "switch",
  "no-new-keyring": "switch",
  "preserve-fds": "value",
  "pidfd-socket": "value",
} as const;

/** A path of the command line, from the directory in which we were started. */
function absolute(path: string): string {
  return path.startsWith("/") ? path : `${process.cwd()}/${path}`;
}

function count(text: string | undefined, flag: string): number {
  if (text === undefined) return 0;
  if (!/^\d+$/.test(text)) throw new UsageError(`invalid value ${JSON.stringify(text)} for flag -${flag}`);
  return Number(text);
}

/** LISTEN_FDS of socket activation counts among the descriptors to keep, as in the original. */
function preservedFds(parsed: Parsed): number {
  const listening = /^\d+$/.exec(process.env.LISTEN_FDS ?? "");
  return count(parsed.values.get("preserve-fds"), "preserve-fds") + Number(listening?.[0] ?? 0);
}

function create(parsed: Parsed, { root }: Globals, id: string): number {
  if (parsed.values.has("pidfd-socket"))
    throw new EngineError("unimplemented", "--pidfd-socket is not supported");
  const pidFile = parsed.values.get("pid-file");
  const consoleSocket = parsed.values.get("console-socket");
  // Loaded here: start and delete, which engines call as often, do without most of the code.
  const { createContainer } = require("./create.ts") as typeof import("./create.ts");
  return createContainer({
    root,
    id,
    bundle: absolute(parsed.values.get("bundle") ?? process.cwd()).replace(/(?<=.)\/+$/, ""),
    pidFile: pidFile === undefined ? undefined : absolute(pidFile),
    consoleSocket: consoleSocket === undefined ? undefined : absolute(consoleSocket),
    noPivot: parsed.switches.has("no-pivot"),
    noNewKeyring: parsed.switches.has("no-new-keyring"),
    preserveFds: preservedFds(parsed),
  });
}

/** The id that a command was given; the syntax has made sure that it is there. */
const idOf = ({ args }: Parsed): string => args[0] ?? "";

/** A failure of `create` or `run`, in the original's words for its callers. */
function wrapped<T>(verb: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const code = error instanceof EngineError ? error.code : "internal";
    const message = error instanceof Error ? error.message : String(error);
    const start = error instanceof EngineError ? "" : "unable to start container process: ";
    throw new EngineError(code, `runc ${verb} failed: ${start}${message}`, { cause: error });
  }
}

async function run(parsed: Parsed, globals: Globals): Promise<number> {
  const id = idOf(parsed);
  const detach = parsed.switches.has("detach");
  const pid = wrapped("run", () => create(parsed, globals, id));
  const { waitInForeground } = await import("./foreground.ts");
  if (detach) {
    startContainer(globals.root, id);
    return 0;
  }
  const exit = waitInForeground(pid);
  startContainer(globals.root, id);
  const status = await exit;
  if (!parsed.switches.has("keep")) deleteContainer(globals.root, id, true);
  return status;
}

async function exec(parsed: Parsed, { root }: Globals): Promise<number> {
  const { execInContainer, execProcess } = await import("./exec.ts");
  const { switches, values, lists } = parsed;
  for (const flag of ["process-label", "apparmor", "pidfd-socket"]) {
    if (values.get(flag)) throw new EngineError("unimplemented", `--${flag} is not supported`);
  }
  if (lists.has("cgroup")) throw new EngineError("unimplemented", "--cgroup is not supported");
  const [id = "", ...args] = parsed.args;
  const container = Container.load(root, id);
  if (!(container.status === "paused" && switches.has("ignore-paused"))) containerFor("exec", root, id);
  const processFile = values.get("process");
  if (processFile === undefined && args.length === 0) {
    throw new UsageError("exec args cannot be empty");
  }
  const detach = switches.has("detach");
  const pidFile = values.get("pid-file");
  const consoleSocket = values.get("console-socket");
  let pid: number;
  try {
    const request = execProcess(container, {
      processFile,
      args: args[0] === "--" ? args.slice(1) : args,
      tty: switches.has("tty"),
      cwd: values.get("cwd"),
      env: lists.get("env") ?? [],
      user: values.get("user"),
      additionalGids: lists.get("additional-gids") ?? [],
      capabilities: lists.get("cap") ?? [],
      noNewPrivileges: switches.has("no-new-privs"),
    });
    if (request.terminal && consoleSocket === undefined) {
      throw new EngineError(
        "invalid_argument",
        "cannot allocate tty if runc will detach without setting console socket",
      );
    }
    if (!request.terminal && consoleSocket !== undefined) {
      throw new EngineError(
        "invalid_argument",
        "cannot use console socket if runc will not detach or allocate tty",
      );
    }
    pid = execInContainer({
      container,
      process: request,
      root,
      pidFile: pidFile === undefined ? undefined : absolute(pidFile),
      consoleSocket: consoleSocket === undefined ? undefined : absolute(consoleSocket),
      preserveFds: preservedFds(parsed),
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const start = error instanceof EngineError ? "" : "unable to start container process: ";
    throw new ExecFailure(`exec failed: ${start}${message}`, { cause: error });
  }
  if (detach) return 0;
  const { waitInForeground } = await import("./foreground.ts");
  return waitInForeground(pid);
}

/** A failed exec ends runc with 255, which no other failure does. */
export class ExecFailure extends Error {
  override readonly name = "ExecFailure";
}

async function killCommand(parsed: Parsed, { root }: Globals): Promise<number> {
  const [id = "", name = "SIGTERM"] = parsed.args;
  const { parseSignal } = await import("./signals.ts");
  const number = parseSignal(name);
  const container = Container.load(root, id);
  const all = parsed.switches.has("all");
  const { group, saved } = container;
  if (container.status === "stopped") {
    // Without a pid namespace of its own the others live on when init is gone.
    const left = all || !saved.ownPidNamespace ? group.processes() : [];
    if (left.length === 0 && !all) throw new EngineError("failed_precondition", "container not running");
    for (const pid of left) kill(pid, number);
    return 0;
  }
  if (all || (number === 9 && !saved.ownPidNamespace)) {
    for (const pid of group.processes()) {
      try {
        kill(pid, number);
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
      }
    }
  } else {
    signal(saved.pid, number);
  }
  if (number === 9 && group.frozen) group.freeze(false);
  return 0;
}

function stateCommand(parsed: Parsed, { root }: Globals): number {
  const container = Container.load(root, idOf(parsed));
  const { saved } = container;
  const state = container.ociState();
  // As the original: some of its own fields among those of the specification.
  const { annotations, ...fields } = state;
  const extended = {
    ...fields,
    rootfs: saved.rootfs,
    created: saved.created,
    ...(annotations ? { annotations } : {}),
    owner: "",
  };
  print(JSON.stringify(extended, null, 2));
  return 0;
}

/** Columns of text, as Go's tabwriter with a minimum of 12 and padding 3 prints them. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(12, ...rows.map((row) => (row[column] ?? "").length + 3)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join(""),
    )
    .map((line) => `${line}\n`)
    .join("");
}

function formatOf(parsed: Parsed): "table" | "json" {
  const format = parsed.values.get("format") ?? "table";
  if (format !== "table" && format !== "json") throw new UsageError("invalid format option");
  return format;
}

function list(parsed: Parsed, { root }: Globals): number {
  const containers = Container.all(root);
  if (parsed.switches.has("quiet")) {
    print(containers.map(({ saved }) => `${saved.id}\n`).join(""));
    return 0;
  }
  const states = containers.map((container) => {
    const { ociVersion, id, pid, status, bundle, annotations } = container.ociState();
    const { rootfs, created } = container.saved;
    const owner = ownerName(stat(container.directory).uid);
    return {
      ociVersion,
      id,
      pid,
      status,
      bundle,
      rootfs,
      created,
      ...(annotations ? { annotations } : {}),
      owner,
    };
  });
  if (formatOf(parsed) === "json") {
    print(`${JSON.stringify(states.length === 0 ? null : states)}`);
    return 0;
  }
  const rows = states.map(({ id, pid, status, bundle, created, owner }) => [
    id,
    String(pid),
    status,
    bundle,
    created,
    owner,
  ]);
  print(table([["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], ...rows]));
  return 0;
}

function ownerName(uid: number): string {
  for (const line of (readTextIfExists("/etc/passwd") ?? "").split("\n")) {
    const [name, , id] = line.split(":");
    if (id === String(uid) && name) return name;
  }
  return `#${uid}`;
}

function ps(parsed: Parsed, { root }: Globals): number {
  const [id = "", ...options] = parsed.args;
  const container = Container.load(root, id);
  const pids = container.group.processes();
  if (formatOf(parsed) === "json") {
    print(JSON.stringify(pids));
    return 0;
  }
  const result = Bun.spawnSync(["ps", ...(options.length > 0 ? options : ["-ef"])]);
  if (!result.success) throw new EngineError("internal", `ps: ${result.stderr.toString().trim()}`);
  const [header = "", ...lines] = result.stdout.toString().split("\n");
  const column = header.trim().split(/\s+/).indexOf("PID");
  if (column < 0) throw new EngineError("internal", "couldn't find PID field in ps output");
  const wanted = new Set(pids.map(String));
  const shown = lines.filter((line) => wanted.has(line.trim().split(/\s+/)[column] ?? ""));
  print([header, ...shown].map((line) => `${line}\n`).join(""));
  return 0;
}

async function update(parsed: Parsed, { root }: Globals): Promise<number> {
  const { requestedResources, updateGroup } = await import("./update.ts");
  const container = containerFor("update", root, idOf(parsed));
  updateGroup(container.group, requestedResources(parsed));
  return 0;
}

async function events(parsed: Parsed, { root }: Globals): Promise<number> {
  const { containerStats } = await import("@longshore/cgroups");
  if (!parsed.switches.has("stats")) {
    throw new EngineError("unimplemented", "events without --stats is not supported");
  }
  const container = Container.load(root, idOf(parsed));
  if (container.status === "stopped") {
    throw new EngineError("failed_precondition", `container with id ${idOf(parsed)} is not running`);
  }
  print(
    `${JSON.stringify({ type: "stats", id: container.saved.id, data: containerStats(container.group) })}\n`,
  );
  return 0;
}

const UPDATE_VALUES = [
  "blkio-weight",
  "cpu-period",
  "cpu-quota",
  "cpu-burst",
  "cpu-share",
  "cpu-rt-period",
  "cpu-rt-runtime",
  "cpuset-cpus",
  "cpuset-mems",
  "memory",
  "memory-reservation",
  "memory-swap",
  "pids-limit",
  "cpu-idle",
  "resources",
];

const refused = (name: string): Command => ({
  flags: {},
  args: [0, MANY],
  usage: "not supported: needs criu",
  run: () => {
    throw new EngineError("unimplemented", `${name} is not supported`);
  },
});

export const COMMANDS: Record<string, Command> = {
  create: {
    flags: CREATE_FLAGS,
    aliases: { b: "bundle" },
    args: [1, 1],
    usage: "make a container from the bundle in the working directory",
    run: (parsed, globals) => {
      wrapped("create", () => create(parsed, globals, idOf(parsed)));
      return 0;
    },
  },
  start: {
    flags: {},
    args: [1, 1],
    usage: "let a created container's process run",
    run: (parsed, { root }) => {
      startContainer(root, idOf(parsed));
      return 0;
    },
  },
  run: {
    flags: { ...CREATE_FLAGS, detach: "switch", keep: "switch", "no-subreaper": "switch" },
    aliases: { b: "bundle", d: "detach" },
    args: [1, 1],
    usage: "create and start",
    run,
  },
  exec: {
    flags: {
      "console-socket": "value",
      "pidfd-socket": "value",
      cwd: "value",
      env: "list",
      tty: "switch",
      user: "value",
      "additional-gids": "list",
      process: "value",
      detach: "switch",
      "pid-file": "value",
      "process-label": "value",
      apparmor: "value",
      "no-new-privs": "switch",
      cap: "list",
      "preserve-fds": "value",
      cgroup: "list",
      "ignore-paused": "switch",
    },
    aliases: { e: "env", t: "tty", u: "user", g: "additional-gids", p: "process", d: "detach", c: "cap" },
    args: [1, MANY],
    usage: "start one more process in a container",
    run: exec,
  },
  state: { flags: {}, args: [1, 1], usage: "print a container's state", run: stateCommand },
  list: {
    flags: { format: "value", quiet: "switch" },
    aliases: { f: "format", q: "quiet" },
    args: [0, 0],
    usage: "print all containers below the root directory",
    run: list,
  },
  ps: {
    flags: { format: "value" },
    aliases: { f: "format" },
    args: [1, MANY],
    usage: "print the processes of a container",
    run: ps,
  },
  kill: {
    flags: { all: "switch" },
    aliases: { a: "all" },
    args: [1, 2],
    usage: "send a signal (SIGTERM) to a container",
    run: killCommand,
  },
  delete: {
    flags: { force: "switch" },
    aliases: { f: "force" },
    args: [1, 1],
    usage: "remove a stopped container, with --force any",
    run: (parsed, { root }) => {
      const force = parsed.switches.has("force");
      try {
        deleteContainer(root, idOf(parsed), force);
      } catch (error) {
        if (!(force && error instanceof EngineError && error.code === "not_found")) throw error;
      }
      return 0;
    },
  },
  pause: {
    flags: {},
    args: [1, 1],
    usage: "freeze all processes of a container",
    run: (parsed, { root }) => {
      containerFor("pause", root, idOf(parsed)).group.freeze(true);
      return 0;
    },
  },
  resume: {
    flags: {},
    args: [1, 1],
    usage: "let a paused container go on",
    run: (parsed, { root }) => {
      containerFor("resume", root, idOf(parsed)).group.freeze(false);
      return 0;
    },
  },
  update: {
    flags: Object.fromEntries(UPDATE_VALUES.map((name) => [name, "value" as const])),
    aliases: { r: "resources" },
    args: [1, 1],
    usage: "change a container's limits",
    run: update,
  },
  events: {
    flags: { stats: "switch", interval: "value" },
    args: [1, 1],
    usage: "print a container's use of resources (--stats)",
    run: events,
  },
  spec: {
    flags: { bundle: "value", rootless: "switch" },
    aliases: { b: "bundle" },
    args: [0, 0],
    usage: "write a config.json to start from",
    run: async (parsed) => {
      if (parsed.switches.has("rootless"))
        throw new EngineError("unimplemented", "spec --rootless is not supported");
      const { defaultSpec } = await import("./default-spec.ts");
      const path = `${absolute(parsed.values.get("bundle") ?? ".")}/config.json`;
      if (exists(path)) throw new EngineError("already_exists", "File config.json exists. Remove it first");
      writeFile(path, JSON.stringify(defaultSpec(), null, "\t"), { mode: 0o666 });
      return 0;
    },
  },
  features: {
    flags: {},
    args: [0, 0],
    usage: "print what is supported, as JSON",
    run: async () => {
      const { features } = await import("./features.ts");
      print(`${JSON.stringify(features(), null, 2)}\n`);
      return 0;
    },
  },
  checkpoint: refused("checkpoint"),
  restore: refused("restore"),
};

/** Parse and run a command. */
export function runCommand(
  name: string,
  argv: readonly string[],
  globals: Globals,
): number | Promise<number> {
  const command = COMMANDS[name];
  if (!command) throw new UsageError(`No help topic for '${name}'`);
  return command.run(parseCommand(name, argv, command), globals);
}
