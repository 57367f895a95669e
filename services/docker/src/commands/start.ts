import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { EngineClient } from "../engine/client.ts";
import type { ContainerDetails } from "../engine/types.ts";
import type { FlagValues } from "../flags.ts";
import { print, printError } from "../io/output.ts";
import { runSession } from "../io/stream-session.ts";
import { checkDetachKeys, followTerminalSize, forwardSignals, startWait } from "./attach-parts.ts";

export const start: Command = {
  name: "docker start",
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  summary: "Start one or more stopped containers",
  arity: { min: 1 },
  flags: [
    { name: "attach", short: "a", kind: "bool", help: "Attach STDOUT/STDERR and forward signals" },
    { name: "detach-keys", kind: "string", help: "Override the key sequence for detaching a container" },
    { name: "interactive", short: "i", kind: "bool", help: "Attach container's STDIN" },
  ],
  unsupported: ["--checkpoint", "--checkpoint-dir"],
  async run({ client, flags, args }) {
    checkDetachKeys(flags.string("detach-keys"));
    if (!flags.bool("attach") && !flags.bool("interactive")) return startAll(client, args);
    if (args.length > 1) throw new CliError("you cannot start and attach multiple containers at once");
    return startAttached(client, flags, args[0] ?? "");
  },
};

async function startAll(client: EngineClient, names: readonly string[]): Promise<number> {
  const failed: string[] = [];
  for (const name of names) {
    try {
      await startOne(client, encodeURIComponent(name));
      print(name);
    } catch (error) {
      printError(error instanceof Error ? error.message : String(error));
      failed.push(name);
    }
  }
  if (failed.length > 0) throw new CliError(`Error: failed to start containers: ${failed.join(", ")}`);
  return 0;
}

async function startAttached(client: EngineClient, flags: FlagValues, name: string): Promise<number> {
  const container = await client.json<ContainerDetails>({
    path: `/containers/${encodeURIComponent(name)}/json`,
  });
  const { Id: id, Config: config } = container;
  if (!config.Tty) forwardSignals(client, id);
  const detachKeys = flags.string("detach-keys");
  const stdin = flags.bool("interactive") && config.OpenStdin;
  const [hijacked, wait] = await Promise.all([
    client.hijack({
      method: "POST",
      path: `/containers/${id}/attach`,
      query: {
        stream: 1,
        stdout: 1,
        stderr: 1,
        stdin: stdin ? 1 : undefined,
        detachKeys: detachKeys || undefined,
      },
    }),
    startWait(client, id, container.HostConfig.AutoRemove ? "removed" : "next-exit"),
  ]);
  const session = runSession(hijacked, { stdin, tty: config.Tty, detachKeys });
  try {
    await startOne(client, id);
  } catch (error) {
    hijacked.connection.close();
    await session.catch(() => undefined); // it was cut off
    if (container.HostConfig.AutoRemove) await wait.status();
    throw error;
  }
  if (config.Tty) await followTerminalSize(client, `/containers/${id}/resize`);
  return (await session) === "detached" ? 0 : wait.status();
}

async function startOne(client: EngineClient, id: string): Promise<void> {
  await client.text({ method: "POST", path: `/containers/${id}/start` });
}
