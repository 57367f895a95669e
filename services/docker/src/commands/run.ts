import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type EngineClient, EngineRefusal } from "../engine/client.ts";
import { print } from "../io/output.ts";
import { runSession } from "../io/stream-session.ts";
import { terminalSize } from "../io/terminal.ts";
import {
  checkDetachKeys,
  checkTerminal,
  followTerminalSize,
  forwardSignals,
  startWait,
} from "./attach-parts.ts";
import { checkPullPolicy, createContainer, withHelp, withOptionHelp } from "./create.ts";
import { CREATE_FLAGS, createBody, UNSUPPORTED_CREATE_FLAGS } from "./create-options.ts";

export const run: Command = {
  name: "docker run",
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  summary: "Create and run a new container from an image",
  arity: { min: 1 },
  flags: [
    ...CREATE_FLAGS,
    { name: "detach", short: "d", kind: "bool", help: "Run container in background and print container ID" },
    { name: "detach-keys", kind: "string", help: "Override the key sequence for detaching a container" },
    { name: "sig-proxy", kind: "bool", help: "Proxy received signals to the process (default true)" },
  ],
  unsupported: UNSUPPORTED_CREATE_FLAGS,
  stopAtArgument: true,
  async run({ client, flags, args }) {
    checkPullPolicy(flags, "run");
    const body = withOptionHelp("run", () => createBody(flags, args));
    const detach = flags.bool("detach");
    const detachKeys = flags.string("detach-keys");
    checkDetachKeys(detachKeys);
    if (detach) {
      if (flags.list("attach").length > 0) {
        throw new CliError("conflicting options: cannot specify both --attach and --detach");
      }
      Object.assign(body, { AttachStdin: false, AttachStdout: false, AttachStderr: false, StdinOnce: false });
    } else {
      checkTerminal(body.AttachStdin, body.Tty);
    }
    if (body.Tty) {
      const { height, width } = terminalSize();
      body.HostConfig.ConsoleSize = [height, width];
    }
    let id: string;
    try {
      id = await createContainer(client, flags, body);
    } catch (error) {
      throw withHelp(error, "run", exitCodeOf(error));
    }
    if (!flags.has("sig-proxy") || flags.bool("sig-proxy")) forwardSignals(client, id);
    const attached = body.AttachStdin || body.AttachStdout || body.AttachStderr;
    if (!attached) {
      await start(client, id);
      print(id);
      return 0;
    }
    return runAttached(client, id, { ...body, detachKeys, autoRemove: body.HostConfig.AutoRemove });
  },
};

interface AttachedRun {
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  Tty: boolean;
  detachKeys: string;
  autoRemove: boolean;
}

async function runAttached(client: EngineClient, id: string, options: AttachedRun): Promise<number> {
  // Both must be there before the start: output and exit of a fast process would be lost.
  const [hijacked, wait] = await Promise.all([
    client.hijack({
      method: "POST",
      path: `/containers/${id}/attach`,
      query: {
        stream: 1,
        stdin: options.AttachStdin ? 1 : undefined,
        stdout: options.AttachStdout ? 1 : undefined,
        stderr: options.AttachStderr ? 1 : undefined,
        detachKeys: options.detachKeys || undefined,
      },
    }),
    startWait(client, id, options.autoRemove ? "removed" : "next-exit"),
  ]);
  const session = runSession(hijacked, {
    stdin: options.AttachStdin,
    tty: options.Tty,
    detachKeys: options.detachKeys,
  });
  try {
    await start(client, id);
  } catch (error) {
    hijacked.connection.close();
    await session.catch(() => undefined); // it was cut off
    if (options.autoRemove) await wait.status();
    throw error;
  }
  if (options.Tty) await followTerminalSize(client, `/containers/${id}/resize`);
  if ((await session) === "detached") return 0;
  return wait.status();
}

async function start(client: EngineClient, id: string): Promise<void> {
  try {
    await client.text({ method: "POST", path: `/containers/${id}/start` });
  } catch (error) {
    throw withHelp(error, "run", exitCodeOf(error));
  }
}

/** 127 for a command that is not there, 126 for one that can't be run, 125 for the rest; by text, as the engine tells it no other way. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof EngineRefusal)) return 125;
  if (
    /executable file not found|no such file or directory|system cannot find the file specified/.test(
      error.message,
    )
  ) {
    return 127;
  }
  return /permission denied|is a directory/.test(error.message) ? 126 : 125;
}
