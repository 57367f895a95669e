import path from "node:path";
import { ensureDirectory } from "@longshore/syscalls";
import type { Exchange } from "../events/exchange.ts";
import { NatsOutlet } from "../events/nats-outlet.ts";
import type { ShimOutbox } from "../events/shim-outbox.ts";
import { type ContainerdPlugin, SkipPlugin } from "../plugin.ts";

const TYPE = "io.longshore.events.v1";
const ID = "nats";

/** Directory of shims' outboxes below the daemon's root. */
export const OUTBOXES = path.join(`${TYPE}.${ID}`, "shims");

export interface NatsOptions {
  url: string | undefined;
  tokenFile: string | undefined;
  outbox: ShimOutbox;
}

/** Every event that its sender has not put there itself goes to NATS. */
export function natsPlugin(exchange: Exchange, { url, tokenFile, outbox }: NatsOptions): ContainerdPlugin {
  return {
    type: TYPE,
    id: ID,
    requires: ["io.containerd.event.v1"],
    exports: (): Record<string, string> => (url ? { url } : {}),
    async start({ root, log }) {
      if (!url) throw new SkipPlugin("no NATS server is configured");
      const directory = path.join(root, `${TYPE}.${ID}`);
      ensureDirectory(directory, 0o700);
      const outlet = new NatsOutlet({ url, tokenFile, directory, log });
      outbox.publisher = outlet.publisher;
      const listening = exchange.listen((envelope, options) => outlet.take(envelope, options));
      return {
        async [Symbol.asyncDispose]() {
          listening[Symbol.dispose]();
          await outlet[Symbol.asyncDispose]();
        },
      };
    },
  };
}
