import os from "node:os";
import type { Logger } from "@longshore/log";
import type { Engine } from "../engine.ts";
import { writeWrappers } from "./runtimes.ts";
import { type ConfigSource, DEFAULT_CONFIG_FILE, loadSettings, type Settings } from "./settings.ts";

/** What may change while the daemon runs; for all else it must be started again. */
const RELOADABLE = [
  "authorizationPlugins",
  "debug",
  "defaultRuntime",
  "insecureRegistries",
  "labels",
  "liveRestore",
  "logLevel",
  "registryMirrors",
  "runtimes",
  "shutdownTimeoutSeconds",
  "stopTimeoutSeconds",
  "transfers",
] as const satisfies readonly (keyof Settings)[];

/** Read the configuration file again. One that doesn't hold is told of and changes nothing. */
export function reloadConfig(engine: Engine, source: ConfigSource): void {
  const { log, flags: current } = engine;
  const file = source.configFile ?? DEFAULT_CONFIG_FILE;
  log.info({ file }, "got signal to reload configuration");
  let wanted: Settings;
  try {
    wanted = loadSettings(source);
    writeWrappers(wanted.runtimes, current.dataRoot);
    // The last: what fails here has changed nothing.
    engine.authorizer.configure(wanted.authorizationPlugins);
  } catch (error) {
    log.error({ err: error }, "the configuration was not reloaded");
    return;
  }
  const comparable = (settings: Settings) => ({
    ...settings,
    defaults: { ...settings.defaults, shmSizeBytes: wanted.defaults.shmSizeBytes },
  });
  const fixed = (Object.keys(current) as (keyof Settings)[]).filter(
    (key) =>
      !RELOADABLE.some((name) => name === key) &&
      text(comparable(current)[key]) !== text(comparable(wanted)[key]),
  );
  if (fixed.length > 0) log.warn({ settings: fixed }, "changed, but in effect only after a restart");
  Object.assign(current, Object.fromEntries(RELOADABLE.map((key) => [key, wanted[key]])));
  const { shmSizeBytes } = wanted.defaults;
  current.defaults = { ...current.defaults, shmSizeBytes };
  setLevel(log, current);
  // A name may mean another shim now.
  engine.fifoRuntimes.clear();
  engine.events.emit("daemon", "reload", engine.id, {
    "authorization-plugins": JSON.stringify(current.authorizationPlugins),
    debug: String(current.debug),
    "default-runtime": current.defaultRuntime,
    "default-shm-size": String(shmSizeBytes),
    "default-stop-timeout": String(current.stopTimeoutSeconds),
    "insecure-registries": JSON.stringify(current.insecureRegistries),
    labels: JSON.stringify(current.labels),
    "live-restore": String(current.liveRestore),
    "max-concurrent-downloads": String(current.transfers.maxDownloads ?? 3),
    "max-concurrent-uploads": String(current.transfers.maxUploads ?? 5),
    "max-download-attempts": String(current.transfers.maxAttempts ?? 5),
    name: os.hostname(),
    "registry-mirrors": JSON.stringify(current.registryMirrors),
    runtimes: [...current.runtimes]
      .map(([name, { path, runtimeType }]) => `${name}:${path ?? runtimeType}`)
      .join(" "),
    "shutdown-timeout": String(current.shutdownTimeoutSeconds),
  });
  log.info({ file }, "reloaded configuration");
}

function setLevel(log: Logger, { logLevel }: Settings): void {
  log.level = logLevel === "panic" ? "fatal" : logLevel;
}

function text(value: unknown): string {
  return JSON.stringify(value instanceof Map ? [...value] : value) ?? "";
}
