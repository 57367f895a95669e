import path from "node:path";
import { DEFAULT_SIZE_LIMITS, type SizeLimits } from "@longshore/archive";
import { UsageError } from "@longshore/cli";
import type { LogLevel } from "@longshore/log";
import { type Document, parseToml, readConfigFiles } from "./config-files.ts";
import {
  boolean,
  ConfigReader,
  durationMs,
  integer,
  invalid,
  number,
  pluginIds,
  string,
} from "./config-reader.ts";
import { type FlagName, parseLogLevel } from "./flags.ts";
import { DEFAULT_GC_SCHEDULE, type GcSchedule } from "./metadata/gc-scheduler.ts";

/** Where the daemon looks for its configuration when no `--config` names one. */
export const DEFAULT_CONFIG_FILE = "/etc/longshore/containerd.toml";

const NEWEST_VERSION = 4;
const GRPC_PLUGIN = "io.containerd.server.v1.grpc";
const TTRPC_PLUGIN = "io.containerd.server.v1.ttrpc";
const GC_PLUGIN = "io.containerd.gc.v1.scheduler";
const SNAPSHOTTERS = "io.containerd.snapshotter.v1";
const DIFFER = "io.containerd.differ.v1.walking";
const OPT_PLUGIN = "io.containerd.internal.v1.opt";
const RUNTIME_PLUGIN = "io.containerd.runtime.v2.task";
const NATS_PLUGIN = "io.longshore.events.v1.nats";

export interface Config {
  root: string;
  state: string;
  /** Path of the gRPC socket. */
  address: string;
  /** Path of the socket that shims send their events to. */
  ttrpcAddress: string;
  logLevel: LogLevel;
  /** Plugins not to start, by `type.id`. */
  disabledPlugins: readonly string[];
  /** Plugins without which the daemon must not run, by `type.id`. */
  requiredPlugins: readonly string[];
  gc: Readonly<GcSchedule>;
  /** Directories of snapshotters, by their names; below the root where none is given. */
  snapshotterRoots: Readonly<Record<string, string>>;
  /** How large layers may become. */
  layerLimits: SizeLimits;
  /** Whether layers are unpacked with few rights only, and not at all where that can't be had. */
  confineUnpack: boolean;
  /** Where `ctr install` puts programs; below the root when it isn't given. */
  optPath: string | undefined;
  /** Whether a shim of ours stands by for the next container. */
  standbyShim: boolean;
  /** How long nothing must have happened before a shim of ours sleeps; 0: it never does. Left to the shim where it isn't given. */
  shimSleepMs: number | undefined;
  natsUrl: string | undefined;
  natsTokenFile: string | undefined;
}

/** A configuration and what in its file has no meaning here. */
export interface LoadedConfig {
  config: Config;
  /** Keys nobody knows, dotted; containerd warns of these and goes on. */
  unknownKeys: readonly string[];
  file: string | undefined;
}

export const DEFAULT_CONFIG: Readonly<Config> = {
  root: "/var/lib/longshore/containerd",
  state: "/run/longshore/containerd",
  address: "/run/longshore/containerd/containerd.sock",
  ttrpcAddress: "/run/longshore/containerd/containerd.sock.ttrpc",
  logLevel: "info",
  disabledPlugins: [],
  requiredPlugins: [],
  gc: DEFAULT_GC_SCHEDULE,
  snapshotterRoots: {},
  layerLimits: DEFAULT_SIZE_LIMITS,
  confineUnpack: true,
  optPath: undefined,
  standbyShim: true,
  shimSleepMs: undefined,
  natsUrl: undefined,
  natsTokenFile: undefined,
};

/** The file (if there is one), then the flags over it. */
export function loadConfig(flags: ReadonlyMap<FlagName, string>): LoadedConfig {
  const named = flags.get("config");
  const file = named ?? DEFAULT_CONFIG_FILE;
  const document = readConfigFiles(file, named !== undefined);
  const loaded = readConfig(document ?? {});
  const config = applyFlags(loaded.config, flags);
  if (config.root === config.state) throw new UsageError("root and state must be different paths");
  return { config, unknownKeys: loaded.unknownKeys, file: document && file };
}

/**
 * containerd's config.toml, versions 1 to 4, as far as it concerns what exists here. A key of containerd's that is set to something
 * we can't do is refused by name; one that containerd would not know either is reported.
 * @throws EngineError `invalid_argument`
 */
export function parseConfig(text: string, file = "config.toml"): { config: Config; unknownKeys: string[] } {
  return readConfig(parseToml(text, file));
}

function readConfig(document: Document): { config: Config; unknownKeys: string[] } {
  const reader = new ConfigReader(document);
  const version = reader.take("version", integer) ?? 1;
  if (version > NEWEST_VERSION) {
    throw invalid(
      `expected containerd config version equal to or less than \`${NEWEST_VERSION}\`, got \`${version}\``,
    );
  }
  const address =
    reader.take(`plugins/${GRPC_PLUGIN}/address`, string) || reader.take("grpc/address", string) || undefined;
  const ttrpcAddress =
    reader.take(`plugins/${TTRPC_PLUGIN}/address`, string) ||
    reader.take("ttrpc/address", string) ||
    (address && `${address}.ttrpc`);
  const config: Config = {
    ...DEFAULT_CONFIG,
    root: path.resolve(reader.take("root", string) || DEFAULT_CONFIG.root),
    state: path.resolve(reader.take("state", string) || DEFAULT_CONFIG.state),
    address: address ?? DEFAULT_CONFIG.address,
    ttrpcAddress: ttrpcAddress ?? DEFAULT_CONFIG.ttrpcAddress,
    logLevel: parseLogLevel(reader.take("debug/level", string) || DEFAULT_CONFIG.logLevel),
    disabledPlugins: reader.take("disabled_plugins", pluginIds) ?? [],
    requiredPlugins: reader.take("required_plugins", pluginIds) ?? [],
    gc: readGcSchedule(reader),
    snapshotterRoots: readSnapshotterRoots(reader),
    layerLimits: readLayerLimits(reader),
    confineUnpack: reader.take(`plugins/${DIFFER}/confine_unpack`, boolean) ?? true,
    optPath: reader.take(`plugins/${OPT_PLUGIN}/path`, string) || undefined,
    standbyShim: reader.take(`plugins/${RUNTIME_PLUGIN}/standby_shim`, boolean) ?? true,
    shimSleepMs: reader.take(`plugins/${RUNTIME_PLUGIN}/shim_sleep`, (value, key) =>
      value === "" ? undefined : durationMs(value, key),
    ),
    natsUrl: reader.take(`plugins/${NATS_PLUGIN}/url`, string) || undefined,
    natsTokenFile: reader.take(`plugins/${NATS_PLUGIN}/token_file`, string) || undefined,
  };
  for (const [key, harmless] of UNSUPPORTED) reader.refuseUnless(key, harmless);
  return { config, unknownKeys: reader.left(PASSED_OVER) };
}

function readGcSchedule(reader: ConfigReader): GcSchedule {
  const take = <T>(key: string, check: (value: unknown, key: string) => T) =>
    reader.take(`plugins/${GC_PLUGIN}/${key}`, check);
  const { pauseThreshold, deletionThreshold, mutationThreshold, scheduleDelayMs, startupDelayMs } =
    DEFAULT_GC_SCHEDULE;
  return {
    // As the original: no more than half of the time is spent on it.
    pauseThreshold: Math.min(Math.max(take("pause_threshold", number) ?? pauseThreshold, 0), 0.5),
    deletionThreshold: Math.max(take("deletion_threshold", integer) ?? deletionThreshold, 0),
    mutationThreshold: Math.max(take("mutation_threshold", integer) ?? mutationThreshold, 0),
    scheduleDelayMs: take("schedule_delay", durationMs) ?? scheduleDelayMs,
    startupDelayMs: take("startup_delay", durationMs) ?? startupDelayMs,
  };
}

function readLayerLimits(reader: ConfigReader): SizeLimits {
  const take = (name: string, otherwise: number) => {
    const key = `plugins/${DIFFER}/${name}`;
    const value = reader.take(key, integer);
    if (value !== undefined && value < 1)
      throw invalid(`${key.replaceAll("/", ".")} must be a positive integer`);
    return value ?? otherwise;
  };
  const { maxBytes, maxRatio, freeBytes } = DEFAULT_SIZE_LIMITS;
  return {
    maxBytes: take("layer_max_bytes", maxBytes),
    maxRatio: take("layer_max_ratio", maxRatio),
    freeBytes,
  };
}

function readSnapshotterRoots(reader: ConfigReader): Record<string, string> {
  const roots: Record<string, string> = {};
  for (const name of ["overlayfs", "native"]) {
    const root = reader.take(`plugins/${SNAPSHOTTERS}.${name}/root_path`, string);
    if (root) roots[name] = path.resolve(root);
  }
  return roots;
}

/** A configuration as a file that would give it. */
export function printConfig(config: Config): string {
  const lines = [
    `version = ${NEWEST_VERSION}`,
    `root = ${JSON.stringify(config.root)}`,
    `state = ${JSON.stringify(config.state)}`,
    `disabled_plugins = ${JSON.stringify(config.disabledPlugins)}`,
    `required_plugins = ${JSON.stringify(config.requiredPlugins)}`,
    "",
    "[debug]",
    `  level = ${JSON.stringify(config.logLevel)}`,
    "",
    "[plugins]",
    "",
    `  [plugins.${JSON.stringify(GRPC_PLUGIN)}]`,
    `    address = ${JSON.stringify(config.address)}`,
    "",
    `  [plugins.${JSON.stringify(TTRPC_PLUGIN)}]`,
    `    address = ${JSON.stringify(config.ttrpcAddress)}`,
    "",
    `  [plugins.${JSON.stringify(GC_PLUGIN)}]`,
    `    deletion_threshold = ${config.gc.deletionThreshold}`,
    `    mutation_threshold = ${config.gc.mutationThreshold}`,
    `    pause_threshold = ${config.gc.pauseThreshold}`,
    `    schedule_delay = "${config.gc.scheduleDelayMs}ms"`,
    `    startup_delay = "${config.gc.startupDelayMs}ms"`,
    "",
    ...["native", "overlayfs"].flatMap((name) => [
      `  [plugins.${JSON.stringify(`${SNAPSHOTTERS}.${name}`)}]`,
      `    root_path = ${JSON.stringify(config.snapshotterRoots[name] ?? "")}`,
      "",
    ]),
    `  [plugins.${JSON.stringify(DIFFER)}]`,
    `    confine_unpack = ${config.confineUnpack}`,
    `    layer_max_bytes = ${config.layerLimits.maxBytes}`,
    `    layer_max_ratio = ${config.layerLimits.maxRatio}`,
    "",
    `  [plugins.${JSON.stringify(OPT_PLUGIN)}]`,
    `    path = ${JSON.stringify(config.optPath ?? "")}`,
    "",
    `  [plugins.${JSON.stringify(RUNTIME_PLUGIN)}]`,
    `    shim_sleep = "${config.shimSleepMs === undefined ? "" : `${config.shimSleepMs}ms`}"`,
    `    standby_shim = ${config.standbyShim}`,
    "",
    `  [plugins.${JSON.stringify(NATS_PLUGIN)}]`,
    `    token_file = ${JSON.stringify(config.natsTokenFile ?? "")}`,
    `    url = ${JSON.stringify(config.natsUrl ?? "")}`,
  ];
  return `${lines.join("\n")}\n`;
}

/** containerd's keys that nothing here acts on, and the values that ask for nothing. */
const UNSUPPORTED: ReadonlyArray<readonly [key: string, harmless: readonly unknown[]]> = [
  ["temp", [""]],
  ["oom_score", [0]],
  ["plugin_dir", [""]],
  ["cgroup/path", [""]],
  ["debug/address", [""]],
  ["debug/uid", [0]],
  ["debug/gid", [0]],
  ["debug/format", ["", "json"]],
  ["grpc/tcp_address", [""]],
  ["grpc/tcp_tls_ca", [""]],
  ["grpc/tcp_tls_cert", [""]],
  ["grpc/tcp_tls_key", [""]],
  ["grpc/tcp_tls_common_name", [""]],
  ["grpc/uid", [0]],
  ["grpc/gid", [0]],
  ["grpc/max_recv_message_size", [0, 16 * 1024 * 1024]],
  ["grpc/max_send_message_size", [0, 16 * 1024 * 1024]],
  ["ttrpc/uid", [0]],
  ["ttrpc/gid", [0]],
  ["metrics/address", [""]],
  ["metrics/grpc_histogram", [false]],
  ["proxy_plugins", [{}]],
  [`plugins/${SNAPSHOTTERS}.overlayfs/upperdir_label`, [false]],
  [`plugins/${SNAPSHOTTERS}.overlayfs/sync_remove`, [false]],
  [`plugins/${SNAPSHOTTERS}.overlayfs/slow_chown`, [false]],
  [`plugins/${SNAPSHOTTERS}.overlayfs/mount_options`, [[]]],
  ["plugins/io.containerd.metadata.v1.bolt/content_sharing_policy", ["", "shared"]],
  ["plugins/io.containerd.metadata.v1.bolt/no_sync", [false]],
  ["plugins/io.containerd.runtime.v2.task/sched_core", [false]],
];

/** Sections whose content belongs to something that isn't here; containerd passes over these silently too. */
const PASSED_OVER = ["plugins", "timeouts", "stream_processors"];

function applyFlags(config: Config, flags: ReadonlyMap<FlagName, string>): Config {
  const address = flags.get("address") || undefined;
  const root = flags.get("root");
  const state = flags.get("state");
  const level = flags.get("log-level");
  return {
    ...config,
    ...(address && { address, ttrpcAddress: `${address}.ttrpc` }),
    ...(root && { root: path.resolve(root) }),
    ...(state && { state: path.resolve(state) }),
    ...(level && { logLevel: parseLogLevel(level) }),
    natsUrl: flags.get("nats-url") ?? config.natsUrl,
    natsTokenFile: flags.get("nats-token-file") ?? config.natsTokenFile,
  };
}
