import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { EngineClient } from "../engine/client.ts";
import type { ContainerDetails } from "../engine/types.ts";
import { runSession } from "../io/stream-session.ts";
import { isTerminal, terminalSize } from "../io/terminal.ts";
import {
  checkDetachKeys,
  checkTerminal,
  followTerminalSize,
  forwardSignals,
  startWait,
} from "./attach-parts.ts";

export const attach: Command = {
  name: "docker attach",
  usage: "[OPTIONS] CONTAINER",
  summary: "Attach local standard input, output, and error streams to a running container",
  arity: { min: 1, max: 1 },
  flags: [
    { name: "detach-keys", kind: "string", help: "Override the key sequence for detaching a container" },
    { name: "no-stdin", kind: "bool", help: "Do not attach STDIN" },
    { name: "sig-proxy", kind: "bool", help: "Proxy all received signals to the process (default true)" },
  ],
  async run({ client, flags, args: [name = ""] }) {
    const detachKeys = flags.string("detach-keys");
    checkDetachKeys(detachKeys);
    const { Id: id, Config: config } = await runningContainer(client, encodeURIComponent(name));
    const wait = await startWait(client, id, "not-running");
    const noStdin = flags.bool("no-stdin");
    checkTerminal(!noStdin, config.Tty);
    const proxy = !flags.has("sig-proxy") || flags.bool("sig-proxy");
    if (proxy && !config.Tty) forwardSignals(client, id);
    const stdin = !noStdin && config.OpenStdin;
    const hijacked = await client.hijack({
      method: "POST",
      path: `/containers/${id}/attach`,
      query: {
        stream: 1,
        stdout: 1,
        stderr: 1,
        stdin: stdin ? 1 : undefined,
        detachKeys: detachKeys || undefined,
      },
    });
    if (config.Tty) await showScreen(client, id);
    const end = await runSession(hijacked, { stdin, tty: config.Tty, detachKeys });
    if (end === "detached") throw new CliError("read escape sequence");
    return wait.status();
  },
};

async function runningContainer(client: EngineClient, name: string): Promise<ContainerDetails> {
  const container = await client.json<ContainerDetails>({ path: `/containers/${name}/json` });
  const { Running, Paused, Restarting } = container.State;
  if (!Running) throw new CliError("You cannot attach to a stopped container, start it first");
  if (Paused) throw new CliError("You cannot attach to a paused container, unpause it first");
  if (Restarting) throw new CliError("You cannot attach to a restarting container, wait until it is running");
  return container;
}

/** A program draws its screen again when the size changes: so it is changed, and set right. */
async function showScreen(client: EngineClient, id: string): Promise<void> {
  const path = `/containers/${id}/resize`;
  if (isTerminal(1)) {
    const { height, width } = terminalSize();
    await client
      .text({ method: "POST", path, query: { h: height + 1, w: width + 1 } })
      .catch(() => undefined); // cosmetic
  }
  await followTerminalSize(client, path);
}
