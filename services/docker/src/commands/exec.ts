import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { EngineClient } from "../engine/client.ts";
import { runSession } from "../io/stream-session.ts";
import { terminalSize } from "../io/terminal.ts";
import { checkDetachKeys, checkTerminal, followTerminalSize } from "./attach-parts.ts";
import { environment } from "./create-options.ts";

export const exec: Command = {
  name: "docker exec",
  usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
  summary: "Execute a command in a running container",
  arity: { min: 2 },
  flags: [
    { name: "detach", short: "d", kind: "bool", help: "Detached mode: run command in the background" },
    { name: "detach-keys", kind: "string", help: "Override the key sequence for detaching a container" },
    { name: "env", short: "e", kind: "list", help: "Set environment variables" },
    { name: "env-file", kind: "list", help: "Read in a file of environment variables" },
    { name: "interactive", short: "i", kind: "bool", help: "Keep STDIN open even if not attached" },
    { name: "privileged", kind: "bool", help: "Give extended privileges to the command" },
    { name: "tty", short: "t", kind: "bool", help: "Allocate a pseudo-TTY" },
    { name: "user", short: "u", kind: "string", help: "Username or UID (format: <name|uid>[:<group|gid>])" },
    { name: "workdir", short: "w", kind: "string", help: "Working directory inside the container" },
  ],
  stopAtArgument: true,
  async run({ client, flags, args: [container = "", ...command] }) {
    const detachKeys = flags.string("detach-keys");
    checkDetachKeys(detachKeys);
    const name = encodeURIComponent(container);
    const tty = flags.bool("tty");
    const detach = flags.bool("detach");
    const stdin = flags.bool("interactive") && !detach;
    // An unknown container is told before a wrong terminal, and no exec is left behind by either.
    if (stdin && tty) await client.text({ path: `/containers/${name}/json` });
    if (!detach) checkTerminal(stdin, tty);
    const { height, width } = tty ? terminalSize() : { height: 0, width: 0 };
    const size = height > 0 || width > 0 ? { ConsoleSize: [height, width] } : {};
    const { Id: id } = await client.json<{ Id: string }>({
      method: "POST",
      path: `/containers/${name}/exec`,
      json: {
        AttachStdin: stdin,
        AttachStdout: !detach,
        AttachStderr: !detach,
        Cmd: command,
        DetachKeys: detachKeys,
        Env: environment(flags),
        Privileged: flags.bool("privileged"),
        Tty: tty,
        User: flags.string("user"),
        WorkingDir: flags.string("workdir"),
        ...size,
      },
    });
    if (!id) throw new CliError("exec ID empty");
    const start = {
      method: "POST",
      path: `/exec/${id}/start`,
      json: { Detach: detach, Tty: tty, ...size },
    } as const;
    if (detach) {
      await client.text(start);
      return 0;
    }
    const hijacked = await client.hijack(start);
    const session = runSession(hijacked, { stdin, tty, detachKeys });
    if (tty && stdin) await followTerminalSize(client, `/exec/${id}/resize`);
    if ((await session) === "detached") throw new CliError("read escape sequence");
    return exitStatus(client, id);
  },
};

async function exitStatus(client: EngineClient, id: string): Promise<number> {
  const { ExitCode } = await client.json<{ ExitCode: number | null }>({ path: `/exec/${id}/json` });
  return ExitCode ?? 0;
}
