import fs from "node:fs";
import { EventsDefinition } from "@longshore/api/containerd/services/events/v1/events";
import { Any } from "@longshore/api/google/protobuf/any";
import { EngineError } from "@longshore/errors";
import { channelTo, createClient } from "@longshore/rpc";
import { DEFAULT_CONFIG } from "./config.ts";
import type { FlagName } from "./flags.ts";
import { NAMESPACE_HEADER } from "./namespace.ts";

const TIMEOUT_MS = 10_000;

/**
 * `containerd publish`: how a shim tells of an event through a binary, the event a protobuf Any on stdin.
 * @throws EngineError `invalid_argument` without a topic, or what the daemon answered
 */
export async function publish(flags: ReadonlyMap<FlagName, string>, signal: AbortSignal): Promise<void> {
  const topic = flags.get("topic");
  if (!topic) throw new EngineError("invalid_argument", "topic required to publish event: invalid argument");
  const event = Any.decode(fs.readFileSync(0));
  const channel = channelTo(flags.get("address") || DEFAULT_CONFIG.address);
  try {
    const metadata = { [NAMESPACE_HEADER]: flags.get("namespace") ?? "" };
    const events = createClient(channel, EventsDefinition, { metadata, signal, timeoutMs: TIMEOUT_MS });
    await events.publish({ topic, event });
  } finally {
    channel.close();
  }
}
