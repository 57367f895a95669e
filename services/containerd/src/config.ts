import fs from "node:fs";
import path from "node:path";
import { UsageError } from "@longshore/cli";
import { EngineError, isErrno } from "@longshore/errors";
import type { LogLevel } from "@longshore/log";
import { type FlagName, parseLogLevel } from "./flags.ts";

/** Where the daemon looks for its configuration when no `--config` names one. */
export const DEFAULT_CONFIG_FILE = "/etc/longshore/containerd.toml";

const NEWEST_VERSION = 4;
const GRPC_PLUGIN = "io.containerd.server.v1.grpc";
const TTRPC_PLUGIN = "io.containerd.server.v1.ttrpc";
const OPT_PLUGIN = "io.containerd.internal.v1.opt";
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
  /** Where `ctr install` puts programs; below the root when it isn't given. */
  optPath: string | undefined;
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
  optPath: undefined,
  natsUrl: undefined,
  natsTokenFile: undefined,
};

/** The file (if there is one), then the flags over it. */
export function loadConfig(flags: ReadonlyMap<FlagName, string>): LoadedConfig {
  const named = flags.get("config");
  const file = named ?? DEFAULT_CONFIG_FILE;
  const text = readIfThere(file, named !== undefined);
  const loaded = parseConfig(text ?? "", file);
  const config = applyFlags(loaded.config, flags);
  if (config.root === config.state) throw new UsageError("root and state must be different paths");
  return { config, unknownKeys: loaded.unknownKeys, file: text === undefined ? undefined : file };
}

/**
 * containerd's config.toml, versions 1 to 4, as far as it concerns what exists here. A key of containerd's that is set to something
 * we can't do is refused by name; one that containerd would not know either is reported.
 * @throws EngineError `invalid_argument`
 */
export function parseConfig(text: string, file = "config.toml"): { config: Config; unknownKeys: string[] } {
  const document = parseToml(text, file);
  const reader = new Reader(document);
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
    optPath: reader.take(`plugins/${OPT_PLUGIN}/path`, string) || undefined,
    natsUrl: reader.take(`plugins/${NATS_PLUGIN}/url`, string) || undefined,
    natsTokenFile: reader.take(`plugins/${NATS_PLUGIN}/token_file`, string) || undefined,
  };
  for (const [key, harmless] of UNSUPPORTED) reader.refuseUnless(key, harmless);
  return { config, unknownKeys: reader.left() };
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
    `  [plugins.${JSON.stringify(OPT_PLUGIN)}]`,
    `    path = ${JSON.stringify(config.optPath ?? "")}`,
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
  ["imports", [[], ["/etc/containerd/conf.d/*.toml"]]],
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
];

/** Sections whose content belongs to something that isn't here; containerd passes over these silently too. */
const PASSED_OVER = ["plugins", "timeouts", "stream_processors"];

/** Hands out the values of a parsed document once each, and knows what nobody asked for. */
class Reader {
  readonly #values = new Map<string, unknown>();

  constructor(document: Record<string, unknown>) {
    this.#collect(document, "");
  }

  take<T>(key: string, check: (value: unknown, key: string) => T): T | undefined {
    const value = this.#values.get(key);
    this.#values.delete(key);
    return value === undefined ? undefined : check(value, key.replaceAll("/", "."));
  }

  refuseUnless(key: string, harmless: readonly unknown[]): void {
    const found = [...this.#values].filter(([name]) => name === key || name.startsWith(`${key}/`));
    for (const [name, value] of found) {
      this.#values.delete(name);
      if (harmless.some((allowed) => JSON.stringify(allowed) === JSON.stringify(value))) continue;
      throw invalid(`${name.replaceAll("/", ".")} = ${JSON.stringify(value)} is not supported`);
    }
  }

  left(): string[] {
    return [...this.#values.keys()]
      .filter((key) => !PASSED_OVER.some((section) => key.startsWith(`${section}/`)))
      .map((key) => key.replaceAll("/", "."));
  }

  #collect(value: Record<string, unknown>, prefix: string): void {
    for (const [name, inner] of Object.entries(value)) {
      const key = prefix + name;
      if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) {
        this.#collect(inner as Record<string, unknown>, `${key}/`);
      } else this.#values.set(key, inner);
    }
  }
}

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

function readIfThere(file: string, required: boolean): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    if (!required) return undefined;
    throw new UsageError(`failed to load TOML: ${file}: open ${file}: no such file or directory`);
  }
}

function parseToml(text: string, file: string): Record<string, unknown> {
  try {
    return Bun.TOML.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw invalid(`failed to load TOML: ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function string(value: unknown, key: string): string {
  if (typeof value !== "string") throw invalid(`${key} must be a string`);
  return value;
}

function integer(value: unknown, key: string): number {
  if (!Number.isInteger(value)) throw invalid(`${key} must be an integer`);
  return value as number;
}

function pluginIds(value: unknown, key: string): string[] {
  if (!Array.isArray(value)) throw invalid(`${key} must be a list`);
  const kind = key === "disabled_plugins" ? "disabled" : "required";
  return value.map((entry) => {
    const id = string(entry, key);
    if (id.includes(".")) return id;
    throw invalid(`invalid ${kind} plugin URI ${JSON.stringify(id)} expect io.containerd.x.vx`);
  });
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
