import { UsageError } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { absolute, type Command, ExecFailure, type Globals, MANY } from "../command.ts";
import { execInContainer, execProcess } from "../exec.ts";
import type { Parsed } from "../flags.ts";
import { waitInForeground } from "../foreground.ts";
import { containerFor } from "../lifecycle.ts";
import { preservedFds } from "../preserved-fds.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

async function exec(parsed: Parsed, { root }: Globals): Promise<number> {
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
  return waitInForeground(pid);
}

export const commands: Record<string, Command> = {
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
};
