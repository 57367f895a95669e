import fs from "node:fs";
import path from "node:path";
import { COMMIT, VERSION } from "@longshore/cli";
import { createLogger, type Logger } from "@longshore/log";
import { serve, tidyAtRest } from "@longshore/rpc";
import { openStore } from "@longshore/store";
import { ensureDirectory, notifySupervisor } from "@longshore/syscalls";
import type { LoadedConfig } from "./config.ts";
import { Exchange } from "./events/exchange.ts";
import type { PluginContext } from "./plugin.ts";
import { PluginRegistry } from "./plugin-registry.ts";
import { lockDirectory } from "./root-lock.ts";
import { runtimePlugins } from "./runtime-plugins.ts";
import { dataPlugins } from "./services/data-plugins.ts";

/** Be the daemon until the signal is aborted. Running containers are left as they are. */
export async function runDaemon(
  { config, unknownKeys, file }: LoadedConfig,
  signal: AbortSignal,
): Promise<void> {
  const log = createLogger("containerd", { level: config.logLevel });
  for (const key of unknownKeys) log.warn({ file, key }, "Ignoring unknown key in TOML");
  log.info({ version: VERSION, revision: COMMIT }, "starting containerd");
  // A bug, or a disk that fails, in one operation must not end all the others.
  process.on("unhandledRejection", (error) => log.error({ err: error }, "unhandled rejection"));
  await using cleanup = new AsyncDisposableStack();

  // No socket and no file is open to others because of the umask that the daemon was started with.
  process.umask(0o022);
  // Clients of remapped user namespaces pass through the state directory; nobody else has business in the root.
  ensureDirectory(config.root, 0o700);
  ensureDirectory(config.state, 0o711);
  cleanup.use(lockDirectory(config.root));
  for (const socket of [config.address, config.ttrpcAddress]) {
    fs.mkdirSync(path.dirname(socket), { recursive: true, mode: 0o711 });
  }
  // Shims listen in it.
  ensureDirectory(path.join(path.dirname(config.address), "s"), 0o700);

  const store = cleanup.use(openStore(`sqlite:${path.join(config.root, "meta.db")}`));
  const exchange = new Exchange();
  const server = serve({ onCall: tidyAtRest() });
  const context: PluginContext = {
    root: config.root,
    state: config.state,
    store,
    publish(namespace, topic, event) {
      try {
        exchange.publish(namespace, topic, event);
      } catch (error) {
        log.error({ err: error, namespace, topic }, "event not published");
      }
    },
    listen: (listener) => exchange.listen(listener),
    log,
    signal,
    server,
  };
  const registry = cleanup.use(new PluginRegistry());
  const plugins = [...dataPlugins(config), ...runtimePlugins(config, registry, exchange)];
  const { disabledPlugins: disabled, requiredPlugins: required } = config;
  await registry.start(plugins, context, { disabled, required });

  await server.listen(config.address);
  cleanup.defer(() => server.close());
  log.info({ address: config.address, pid: process.pid, ms: Math.round(performance.now()) }, "serving");
  tellSupervisor(log, "READY=1");
  await aborted(signal);
  tellSupervisor(log, "STOPPING=1");
  log.info({ reason: String(signal.reason) }, "stopping");
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function tellSupervisor(log: Logger, state: string): void {
  try {
    notifySupervisor(state);
  } catch (error) {
    log.warn({ err: error }, "telling the supervisor");
  }
}
