import fs from "node:fs";
import path from "node:path";
import { EventPublisher, hostName, outgoingEvent } from "@longshore/events/publisher";
import { decodeEvent } from "../events/decode.ts";
import type { Exchange } from "../events/exchange.ts";
import type { ShimOutbox } from "../events/shim-outbox.ts";
import { type ContainerdPlugin, SkipPlugin } from "../plugin.ts";
import { timestampNow } from "../timestamp.ts";

const TYPE = "io.longshore.events.v1";
const ID = "nats";
const QUEUE_LIMIT_BYTES = 64 << 20;

/** How long the daemon waits at its end for events to be delivered; the rest waits on disk. */
const FLUSH_MS = 500;

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
      fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
      const host = hostName();
      const publisher = new EventPublisher({
        url,
        tokenFile,
        queueFile: path.join(directory, "queue.jsonl"),
        queueLimitBytes: QUEUE_LIMIT_BYTES,
        idleMs: 60_000,
        onTrouble: (error) => log.warn({ err: error }, "NATS"),
      });
      outbox.publisher = publisher;
      const listening = exchange.listen(({ namespace, topic, timestamp, event }, { onNats }) => {
        if (onNats) return;
        const message = decodeEvent(event);
        if (!message) {
          log.debug({ topic, type: event?.typeUrl }, "not an event of containerd's, not for NATS");
          return;
        }
        const time = timestamp ?? timestampNow();
        publisher.publish(outgoingEvent(topic, message, { host, namespace, source: "containerd", time }));
      });
      return {
        async [Symbol.asyncDispose]() {
          listening[Symbol.dispose]();
          await publisher.flush(FLUSH_MS);
          publisher.close();
        },
      };
    },
  };
}
