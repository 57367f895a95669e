import { COMMIT, UsageError, VERSION } from "@longshore/cli";
import { EngineError } from "@longshore/errors";

import { NR, syscall, writeAll } from "@longshore/syscalls";
import { COMMANDS, ExecFailure, runCommand } from "./commands.ts";
import { parseFlags } from "./flags.ts";
import { log, reportFailure, setLog } from "./log.ts";

const GLOBAL_FLAGS = {
  flags: {
    debug: "switch",
    log: "value",
    "log-format": "value",
    root: "value",
    "systemd-cgroup": "switch",
    rootless: "value",
    help: "switch",
    version: "switch",
  },
  aliases: { h: "help", v: "version" },
} as const;

const DEFAULT_ROOT = "/run/runc";

function help(): string {
  const commands = Object.entries(COMMANDS).map(([name, { usage }]) => `   ${name.padEnd(12)}${usage}\n`);
  return [
    "NAME:\n   runc - Open Container Initiative runtime\n\n",
    "USAGE:\n   runc [global options] command [command options] [arguments...]\n\n",
    `VERSION:\n   ${VERSION}\n\nCOMMANDS:\n`,
    ...commands,
    "\nGLOBAL OPTIONS:\n",
    "   --debug              log more\n",
    "   --log FILE           where to log (standard error)\n",
    "   --log-format FORMAT  text or json (text)\n",
    `   --root DIR           where the containers' state is kept (${DEFAULT_ROOT})\n`,
    "   --rootless false     true is not supported\n",
    "   --help, -h           print this\n",
    "   --version, -v        print the version\n",
  ].join("");
}

function version(): string {
  const { SPEC_VERSION } = require("@longshore/oci") as typeof import("@longshore/oci");
  return `runc version ${VERSION}\n${COMMIT && `commit: ${COMMIT}\n`}spec: ${SPEC_VERSION}\n`;
}

function main(argv: readonly string[]): number | Promise<number> {
  const { switches, values, args } = parseFlags(argv, GLOBAL_FLAGS);
  const [command = "help", ...rest] = args;
  if (switches.has("version")) {
    writeAll(1, version());
    return 0;
  }
  if (switches.has("help") || command === "help" || command === "h") {
    writeAll(1, help());
    return 0;
  }
  const format = values.get("log-format") ?? "text";
  if (format !== "text" && format !== "json") throw new UsageError(`invalid log-format: ${format}`);
  setLog({ path: values.get("log") ?? "", format, debug: switches.has("debug") });
  if (switches.has("systemd-cgroup")) {
    throw new EngineError("unimplemented", "--systemd-cgroup is not supported: cgroups are managed directly");
  }
  if (values.get("rootless") === "true")
    throw new EngineError("unimplemented", "--rootless is not supported");
  if (process.getuid?.() !== 0) throw new EngineError("permission_denied", "runc must run as root");
  const root = values.get("root") ?? DEFAULT_ROOT;
  if (root === "/") throw new UsageError("Option --root argument should not be set to /");
  const absoluteRoot = root.startsWith("/") ? root : `${process.cwd()}/${root}`;
  log("debug", `command: ${command}, root: ${absoluteRoot}`);
  return runCommand(command, rest, { root: absoluteRoot.replace(/(?<=.)\/+$/, "") });
}

/** End at once: there is nothing to flush, and the engine's own way down takes a millisecond. */
function end(code: number): void {
  syscall(NR.exit_group, code);
}

function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  reportFailure(message);
  if (process.env.LONGSHORE_TRACE && error instanceof Error)
    writeAll(2, `${error.stack}\n${String(error.cause)}\n`);
  end(error instanceof ExecFailure ? 255 : 1);
}

try {
  const code = main(process.argv.slice(2));
  if (typeof code === "number") end(code);
  else code.then(end, fail);
} catch (error) {
  fail(error);
}
