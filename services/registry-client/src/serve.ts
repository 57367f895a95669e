import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import { createLogger } from "@longshore/log";
import { BlobFetcher } from "./blob-fetcher.ts";
import { ContainerdChannels } from "./containerd-channels.ts";
import { parseServeFlags } from "./flags.ts";
import { createServer } from "./server.ts";

/** `serve`: until the signal. */
export async function runServe(args: string[], signal: AbortSignal): Promise<number> {
  const flags = parseServeFlags(args);
  const log = createLogger("registry-client", { level: flags.logLevel });
  // Bun starts fetch's thread at the first request; better now than during one.
  await fetch("data:,");
  using containerd = new ContainerdChannels(flags.containerd);
  const server = createServer({ containerd, log, blobs: new BlobFetcher(), registry: flags.hosts });
  try {
    await server.listen(flags.address);
    log.info({ address: flags.address, containerd: flags.containerd }, "serving");
    if (!signal.aborted) {
      await new Promise<void>((stop) => signal.addEventListener("abort", () => stop(), { once: true }));
    }
    log.info("stopping");
    return 0;
  } finally {
    await server.close();
    removeSocket(flags.address);
  }
}

function removeSocket(address: string): void {
  try {
    fs.unlinkSync(address);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error; // the server has removed it already
  }
}
