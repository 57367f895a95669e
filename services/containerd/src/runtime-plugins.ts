import path from "node:path";
import { EngineError } from "@longshore/errors";
import type { Config } from "./config.ts";
import type { Exchange } from "./events/exchange.ts";
import { ShimOutbox } from "./events/shim-outbox.ts";
import type { ContainerdPlugin } from "./plugin.ts";
import type { PluginRegistry } from "./plugin-registry.ts";
import { containersPlugin } from "./services/containers.ts";
import { eventsPlugin } from "./services/events.ts";
import { exchangePlugin } from "./services/exchange.ts";
import { healthPlugin } from "./services/health.ts";
import { introspectionPlugin } from "./services/introspection.ts";
import { namespacesPlugin } from "./services/namespaces.ts";
import { natsPlugin, OUTBOXES } from "./services/nats.ts";
import { optPlugin } from "./services/opt.ts";
import { type Runtime, runtimePlugin, shimOf } from "./services/runtime.ts";
import { shimEventsPlugin } from "./services/shim-events.ts";
import { tasksPlugin } from "./services/tasks.ts";
import { versionPlugin } from "./services/version.ts";
import { runtimeInfoSource } from "./shims/runtime-info.ts";

/** What makes the daemon run containers; images and content are the other half. */
export function runtimePlugins(
  config: Config,
  registry: PluginRegistry,
  exchange: Exchange,
): ContainerdPlugin[] {
  let started: Runtime | undefined;
  const runtimeOf = (): Runtime => {
    if (started) return started;
    throw new EngineError("failed_precondition", "the runtime has not started");
  };
  const outbox = new ShimOutbox(path.join(config.root, OUTBOXES));
  const surroundings = {
    address: config.address,
    ttrpcAddress: config.ttrpcAddress,
    debug: config.logLevel === "debug" || config.logLevel === "trace",
    natsUrl: config.natsUrl,
    natsTokenFile: config.natsTokenFile,
    shimSleepMs: config.shimSleepMs,
    outbox,
  };
  return [
    optPlugin(config.optPath),
    exchangePlugin(exchange),
    natsPlugin(exchange, { url: config.natsUrl, tokenFile: config.natsTokenFile, outbox }),
    runtimePlugin(exchange, { surroundings, standsBy: config.standbyShim }, (runtime) => {
      started = runtime;
    }),
    introspectionPlugin(registry, runtimeInfoSource(shimOf)),
    containersPlugin,
    eventsPlugin(exchange),
    healthPlugin,
    namespacesPlugin,
    tasksPlugin(runtimeOf),
    versionPlugin,
    shimEventsPlugin(config.ttrpcAddress, runtimeOf),
  ];
}
