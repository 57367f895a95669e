import fs from "node:fs";
import { UsageError } from "@longshore/cli";
import { isErrno } from "@longshore/errors";
import { createLogger, LOG_LEVELS, type Logger } from "@longshore/log";
import { notifySupervisor } from "@longshore/syscalls";
import { BlobFetcher } from "../blob-fetcher.ts";
import type { Arguments } from "../cli/command.ts";
import { CONTAINERD_SOCKET, registryOptions } from "../cli/registry-arguments.ts";
import { ContainerdChannels } from "../containerd-channels.ts";
import { createServer } from "../server.ts";

/** `serve`: until the signal. */
export async function serve(args: Arguments, signal: AbortSignal): Promise<number> {
  const level = args.text("log-level") ?? "info";
  const logLevel = LOG_LEVELS.find((known) => known === level);
  if (!logLevel) throw new UsageError(`unknown log level ${JSON.stringify(level)}`);
  const address = args.text("address") ?? "/run/longshore/registry-client.sock";
  const containerdSocket = args.text("containerd") ?? CONTAINERD_SOCKET;
  const registry = registryOptions(args);
  process.umask(0o022); // the socket is open to others at no time, whatever the umask was
  const log = createLogger("registry-client", { level: logLevel });
  // Bun starts fetch's thread at the first request; better now than during one.
  await fetch("data:,");
  using containerd = new ContainerdChannels(containerdSocket);
  const server = createServer({ containerd, log, blobs: new BlobFetcher(), registry });
  try {
    await server.listen(address);
    log.info({ address, containerd: containerdSocket }, "serving");
    tellSupervisor(log, "READY=1");
    if (!signal.aborted) {
      await new Promise<void>((stop) => signal.addEventListener("abort", () => stop(), { once: true }));
    }
    tellSupervisor(log, "STOPPING=1");
    log.info("stopping");
    return 0;
  } finally {
    await server.close();
    removeSocket(address);
  }
}

function tellSupervisor(log: Logger, state: string): void {
  try {
    notifySupervisor(state);
  } catch (error) {
    log.warn({ err: error }, "telling the supervisor");
  }
}

function removeSocket(address: string): void {
  try {
    fs.unlinkSync(address);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error; // the server has removed it already
  }
}
