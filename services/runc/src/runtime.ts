import { UsageError } from "@longshore/cli";
import { NR, syscall, writeAll } from "@longshore/syscalls";
import { type Command, ExecFailure, UnknownCommand } from "./command.ts";
import { IncorrectUsage, parseCommand, parseFlags } from "./flags.ts";
import { help } from "./load.ts";
import { log, reportFailure, setLog } from "./log.ts";
import { isRootless, setRootless } from "./rootless.ts";

const DEFAULT_ROOT = "/run/runc";

/** The command whose flags are being read, for the help that goes with a wrong one. */
let subject = "";

/** Parse the command line and run the command. */
function run(
  name: string,
  commands: Readonly<Record<string, Command>>,
  argv: readonly string[],
): number | Promise<number> {
  const { switches, values, args } = parseFlags(argv, {
    flags: {
      debug: "switch",
      log: "value",
      "log-format": "value",
      root: "value",
      "systemd-cgroup": "switch",
      rootless: "value",
      criu: "value",
      help: "switch",
      version: "switch",
    },
    aliases: { h: "help", v: "version" },
  });
  const command = commands[name];
  if (!command) throw new UnknownCommand(`No help topic for '${name}'`);
  if (name === "help" || name === "version") {
    return command.run(parseFlags(args.slice(1), command), { root: "", systemdCgroup: false, criu: "" });
  }
  const format = values.get("log-format") ?? "text";
  if (format !== "text" && format !== "json") throw new UsageError(`invalid log-format: ${format}`);
  setLog({ path: values.get("log") ?? "", format, debug: switches.has("debug") });
  const rootless = values.get("rootless") ?? "auto";
  if (rootless !== "true" && rootless !== "false" && rootless !== "auto") {
    throw new UsageError(`invalid value ${JSON.stringify(rootless)} for flag -rootless`);
  }
  setRootless(rootless);
  const { XDG_RUNTIME_DIR } = process.env;
  const root =
    values.get("root") ?? (isRootless() && XDG_RUNTIME_DIR ? `${XDG_RUNTIME_DIR}/runc` : DEFAULT_ROOT);
  if (root === "/") throw new UsageError("Option --root argument should not be set to /");
  const absoluteRoot = root.startsWith("/") ? root : `${process.cwd()}/${root}`;
  log("debug", `command: ${name}, root: ${absoluteRoot}`);
  subject = name;
  const parsed = parseCommand(name, args.slice(1), command);
  if (parsed.switches.has("help")) {
    writeAll(1, help().helpOf(name));
    return 0;
  }
  return command.run(parsed, {
    root: withoutTrailingSlashes(absoluteRoot),
    systemdCgroup: switches.has("systemd-cgroup"),
    criu: values.get("criu") || "criu",
  });
}

function withoutTrailingSlashes(path: string): string {
  let end = path.length;
  while (end > 1 && path[end - 1] === "/") end--;
  return path.slice(0, end);
}

/** End at once: there is nothing to flush, and the engine's own way down takes a millisecond. */
function end(code: number): void {
  syscall(NR.exit_group, code);
}

function fail(error: unknown): void {
  if (error instanceof IncorrectUsage) {
    writeAll(1, `Incorrect Usage${error.heading}\n\n${help().helpOf(subject)}`);
  }
  const message = error instanceof Error ? error.message : String(error);
  reportFailure(message);
  if (process.env.LONGSHORE_TRACE && error instanceof Error)
    writeAll(2, `${error.stack}\n${String(error.cause)}\n`);
  end(error instanceof ExecFailure ? 255 : error instanceof UnknownCommand ? 3 : 1);
}

/** The whole of a runc process: one command of those that are in its file. */
export function runtime(name: string, commands: Readonly<Record<string, Command>>): void {
  try {
    const code = run(name, commands, process.argv.slice(2));
    if (typeof code === "number") end(code);
    else code.then(end, fail);
  } catch (error) {
    fail(error);
  }
}
