import { UsageError } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { absolute, type Command, ExecFailure, type Globals, MANY } from "../command.ts";
import { execInContainer, execProcess, parseSubgroups } from "../exec.ts";
import type { Parsed } from "../flags.ts";
import { Attachment } from "../foreground.ts";
import { checkStatus } from "../lifecycle.ts";
import { preservedFds } from "../preserved-fds.ts";
import { savedSpec } from "../saved-spec.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

function exec(parsed: Parsed, { root }: Globals): number {
  const { switches, values, lists } = parsed;
  const [id = "", ...args] = parsed.args;
  const path = (flag: string) => {
    const value = values.get(flag);
    return value === undefined || value === "" ? undefined : absolute(value);
  };
  try {
    const container = Container.load(root, id);
    refuse(container, switches.has("ignore-paused"));
    const processFile = path("process");
    if (processFile === undefined && args.length === 0) {
      throw new EngineError("invalid_argument", "exec args cannot be empty");
    }
    const spec = savedSpec(container);
    const request = execProcess(spec, {
      processFile,
      args: args[0] === "--" ? args.slice(1) : args,
      tty: switches.has("tty"),
      cwd: values.get("cwd"),
      env: lists.get("env") ?? [],
      user: values.get("user"),
      additionalGids: lists.get("additional-gids") ?? [],
      capabilities: lists.get("cap") ?? [],
      noNewPrivileges: switches.has("no-new-privs"),
      apparmor: values.get("apparmor"),
      label: values.get("process-label"),
    });
    using attachment = switches.has("detach") ? undefined : new Attachment();
    const pid = execInContainer({
      container,
      spec,
      process: request,
      root,
      pidFile: path("pid-file"),
      consoleSocket: path("console-socket"),
      pidfdSocket: path("pidfd-socket"),
      foreground: attachment,
      preserveFds: preservedFds(parsed),
      subgroups: parseSubgroups(lists.get("cgroup") ?? []),
    });
    if (!attachment) return 0;
    attachment.started();
    return attachment.wait(pid);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const message = error instanceof Error ? error.message : String(error);
    const start = error instanceof EngineError ? "" : "unable to start container process: ";
    throw new ExecFailure(`exec failed: ${start}${message}`, { cause: error });
  }
}

/** A created container takes an exec, a stopped or paused one doesn't. */
function refuse(container: Container, ignorePaused: boolean): void {
  const { status } = container;
  if (status === "paused" && ignorePaused) return;
  checkStatus("exec", status);
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
      "additional-gids": "numbers",
      process: "value",
      detach: "switch",
      "pid-file": "value",
      "process-label": "value",
      apparmor: "value",
      "no-new-privs": "switch",
      cap: "list",
      "preserve-fds": "number",
      cgroup: "list",
      "ignore-paused": "switch",
    },
    aliases: { e: "env", t: "tty", u: "user", g: "additional-gids", p: "process", d: "detach", c: "cap" },
    args: [1, MANY],
    usage: "start one more process in a container",
    run: exec,
  },
};
