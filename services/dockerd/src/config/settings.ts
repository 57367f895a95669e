import fs from "node:fs";
import { EngineError, isErrno, toEngineError } from "@longshore/errors";
import type { LogLevel } from "@longshore/log";
import { checkLogConfig } from "@longshore/log-drivers";
import type { AddressPoolSetting, DefaultBridge } from "@longshore/network";
import { checkMinApiVersion, MIN_API_VERSION } from "../http/api-version.ts";
import { socketGroup } from "../http/listeners.ts";
import { parseProfile } from "../spec/seccomp-profile.ts";
import type { SecurityOptions } from "../spec/security-options.ts";
import {
  type CgroupDriver,
  checkCgroupDriver,
  checkCgroupParent,
  defaultCgroupDriver,
  defaultCgroupParent,
  parseExecOpts,
} from "./cgroup-driver.ts";
import { readConfigFile } from "./config-file.ts";
import { DEFAULT_SOCKET, type Host, isLoopback, parseHost } from "./hosts.ts";
import type { OptionValues } from "./options.ts";
import { checkRuntime, chooseShim, type RuntimeConfig, STOCK_RUNTIME } from "./runtimes.ts";
import { readTls, type TlsFiles, tlsFiles } from "./tls.ts";

/** Where the configuration is looked for when no `--config-file` names it: not a real Docker's. */
export const DEFAULT_CONFIG_FILE = "/etc/longshore/daemon.json";

/** How this daemon is set up, by its command line and its configuration file. */
export interface Settings {
  hosts: string[];
  /** What is spoken on TCP; undefined: plain HTTP. */
  tls: TlsFiles | undefined;
  /** Somebody asked by name for TCP ports that anyone may use who reaches them. */
  openTcp: boolean;
  /** Whose unix sockets are, a name or a number; undefined: `docker`, where there is one. */
  group: string | undefined;
  dataRoot: string;
  execRoot: string;
  containerdSocket: string;
  containerdNamespace: string;
  registrySocket: string;
  insecureRegistries: string[];
  registryMirrors: string[];
  /** How registries are reached; empty: directly. */
  proxies: ProxySettings;
  transfers: TransferSettings;
  natsUrl: string | undefined;
  natsTokenFile: string | undefined;
  /** Where state is kept that other engines are to see too; undefined: in a file of its own. */
  storeUrl: string | undefined;
  bridge: string;
  bip: string | undefined;
  defaultBridge: DefaultBridge;
  /** The default bridge's subnet of IPv6, empty for one that is chosen; undefined without IPv6. */
  ipv6: string | undefined;
  /** Where networks get subnets that nobody named; empty: Docker's default ones. */
  addressPools: AddressPoolSetting[];
  /** Options of networks that don't set them, by driver. */
  networkOptions: DefaultNetworkOptions;
  /** Name servers, domains to search and options of containers that have none of their own. */
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  /** What `host-gateway` means; empty: the default bridge's address. */
  hostGatewayIps: string[];
  cgroupDriver: CgroupDriver;
  /** A path, or with the driver `systemd` a slice. */
  cgroupParent: string;
  /** Containers that don't say have an init process. */
  init: boolean;
  /** Its program; undefined: one that is on PATH. */
  initPath: string | undefined;
  defaultRuntime: string;
  /** Beside runc, which is always there. */
  runtimes: Map<string, RuntimeConfig>;
  /** Of containers that ask for none. */
  logDriver: string;
  logOpts: Record<string, string>;
  labels: string[];
  logLevel: LogLevel;
  debug: boolean;
  /** Undefined: as the destination is. */
  logFormat: "text" | "json" | undefined;
  pidfile: string | undefined;
  /** Names of plugins that must allow every request and its answer. */
  authorizationPlugins: string[];
  /** `HOST:PORT` of the metrics. */
  metricsAddr: string | undefined;
  /** Containers run on when the daemon ends. */
  liveRestore: boolean;
  /** How long they have to end when they don't; negative: for ever. */
  shutdownTimeoutSeconds: number;
  /** How long a container that doesn't say has to stop. */
  stopTimeoutSeconds: number;
  /** The oldest version of the API that is served. */
  minApiVersion: string;
  /** The daemon's own; undefined leaves it. */
  oomScoreAdjust: number | undefined;
  /** Whose ids containers' are on the host, as the option has it; empty: the host's own. */
  usernsRemap: string;
  defaults: ContainerDefaults;
}

export type DefaultNetworkOptions = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface ProxySettings {
  httpProxy: string;
  httpsProxy: string;
  noProxy: string;
}

/** Of images; undefined: as registry-client has it. */
export interface TransferSettings {
  /** At once; 0: as many as there are. */
  maxDownloads: number | undefined;
  maxUploads: number | undefined;
  /** Of one download. */
  maxAttempts: number | undefined;
}

/** What containers get that don't say. */
export interface ContainerDefaults {
  shmSizeBytes: number;
  ipcMode: string;
  cgroupnsMode: string;
  noNewPrivileges: boolean;
  seccomp: SecurityOptions["seccomp"];
  /** What it is called: `builtin`, `unconfined` or its file. */
  seccompName: string;
  /** By name, `nofile`. */
  ulimits: Readonly<Record<string, { Soft: number; Hard: number }>>;
}

/** What of the command line says how to find the rest. */
export interface ConfigSource {
  flags: OptionValues;
  /** Undefined when none was named. */
  configFile: string | undefined;
}

/**
 * The flags and the configuration file together.
 * @throws EngineError `invalid_argument` in Docker's words
 */
export function loadSettings({ flags, configFile }: ConfigSource): Settings {
  const file = configFile ?? DEFAULT_CONFIG_FILE;
  const inFile = `unable to configure the Docker daemon with file ${file}`;
  let values: OptionValues | undefined;
  try {
    values = readConfigFile(file, flags);
  } catch (error) {
    throw new EngineError(
      "invalid_argument",
      `${inFile}: ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
      },
    );
  }
  if (!values && configFile !== undefined)
    throw new EngineError("invalid_argument", `${inFile}: open ${file}: no such file or directory`);
  return toSettings({ ...values, ...flags, runtimes: { ...values?.runtimes, ...flags.runtimes } });
}

const DEFAULT_MTU = 1500;

/** @throws EngineError `invalid_argument` for what is of IPv6, without it */
function defaultIpv6(values: OptionValues): string | undefined {
  const { ipv6 = false, "fixed-cidr-v6": subnet = "" } = values;
  for (const key of ["fixed-cidr-v6", "bip6", "default-gateway-v6"] as const)
    if (!ipv6 && values[key]) throw new EngineError("invalid_argument", `${key} is of no use without ipv6`);
  return ipv6 ? subnet : undefined;
}

/** What is set of the default bridge; what is empty isn't. */
function defaultBridge(values: OptionValues): DefaultBridge {
  const { bip6, "fixed-cidr": ipRange, "default-gateway": router, "default-gateway-v6": router6 } = values;
  return {
    icc: values.icc ?? true,
    masquerade: values["ip-masq"] ?? true,
    hostBinding: values.ip ?? "0.0.0.0",
    mtu: values.mtu || DEFAULT_MTU,
    ...(bip6 && { bip6 }),
    ...(ipRange && { ipRange }),
    ...(router && { router }),
    ...(router6 && { router6 }),
  };
}

function toSettings(values: OptionValues): Settings {
  const debug = values.debug ?? false;
  const { tls, tlsverify, tlscacert, tlscert, tlskey } = values;
  const cgroupDriver = parseExecOpts(values["exec-opts"] ?? []) ?? defaultCgroupDriver();
  const settings: Settings = {
    hosts: values.hosts?.length ? values.hosts : [`unix://${DEFAULT_SOCKET}`],
    tls: tlsFiles({ tls, tlsverify, tlscacert, tlscert, tlskey }),
    openTcp: tls === false || tlsverify === false,
    group: values.group,
    dataRoot: values["data-root"] ?? "/var/lib/longshore/dockerd",
    execRoot: values["exec-root"] ?? "/run/longshore/dockerd",
    containerdSocket: values.containerd ?? "/run/longshore/containerd/containerd.sock",
    containerdNamespace: values["containerd-namespace"] ?? "moby",
    registrySocket: values["registry-client"] ?? "/run/longshore/registry-client.sock",
    insecureRegistries: values["insecure-registries"] ?? [],
    registryMirrors: values["registry-mirrors"] ?? [],
    proxies: {
      httpProxy: values["http-proxy"] || variable("HTTP_PROXY"),
      httpsProxy: values["https-proxy"] || variable("HTTPS_PROXY"),
      noProxy: values["no-proxy"] || variable("NO_PROXY"),
    },
    transfers: {
      maxDownloads: values["max-concurrent-downloads"],
      maxUploads: values["max-concurrent-uploads"],
      maxAttempts: values["max-download-attempts"],
    },
    natsUrl: values["nats-url"],
    natsTokenFile: values["nats-token-file"],
    storeUrl: values.store,
    bridge: values.bridge ?? "longshore0",
    bip: values.bip,
    ipv6: defaultIpv6(values),
    defaultBridge: defaultBridge(values),
    addressPools: values["default-address-pools"] ?? [],
    networkOptions: values["default-network-opts"] ?? {},
    dns: values.dns ?? [],
    dnsSearch: values["dns-search"] ?? [],
    dnsOptions: values["dns-opts"] ?? [],
    hostGatewayIps: values["host-gateway-ips"] ?? [],
    cgroupDriver,
    cgroupParent: values["cgroup-parent"] || defaultCgroupParent(cgroupDriver),
    init: values.init ?? false,
    initPath: values["init-path"] || undefined,
    defaultRuntime: values["default-runtime"] ?? STOCK_RUNTIME,
    runtimes: new Map(Object.entries(values.runtimes ?? {})),
    logDriver: values["log-driver"] ?? "json-file",
    logOpts: values["log-opts"] ?? {},
    labels: values.labels ?? [],
    logLevel: debug ? "debug" : (values["log-level"] ?? "info"),
    debug,
    logFormat:
      (values["log-format"] as "text" | "json" | undefined) ?? (values["raw-logs"] ? "text" : undefined),
    pidfile: values.pidfile,
    authorizationPlugins: values["authorization-plugins"] ?? [],
    metricsAddr: values["metrics-addr"] || undefined,
    liveRestore: values["live-restore"] ?? true,
    shutdownTimeoutSeconds: values["shutdown-timeout"] ?? 15,
    stopTimeoutSeconds: values["default-stop-timeout"] ?? 10,
    minApiVersion: minApiVersion(values["min-api-version"]),
    oomScoreAdjust: values["oom-score-adjust"],
    usernsRemap: values["userns-remap"] ?? "",
    defaults: {
      shmSizeBytes: values["default-shm-size"] ?? 64 * 1024 * 1024,
      ipcMode: values["default-ipc-mode"] ?? "private",
      cgroupnsMode: values["default-cgroupns-mode"] ?? "private",
      noNewPrivileges: values["no-new-privileges"] ?? false,
      seccomp: seccompOf(values["seccomp-profile"] ?? ""),
      seccompName: values["seccomp-profile"] || "builtin",
      ulimits: values["default-ulimits"] ?? {},
    },
  };
  check(settings);
  return settings;
}

/** The environment's word counts more than the file's. @throws EngineError `invalid_argument` in Docker's words */
function minApiVersion(inFile: string | undefined): string {
  const name = "DOCKER_MIN_API_VERSION";
  const inEnvironment = process.env[name];
  if (!inEnvironment) return inFile || MIN_API_VERSION;
  try {
    checkMinApiVersion(inEnvironment);
  } catch (cause) {
    throw new EngineError("invalid_argument", `invalid ${name}: ${toEngineError(cause).message}`, { cause });
  }
  return inEnvironment;
}

/** As Go's programs read it. */
function variable(name: string): string {
  return process.env[name] || process.env[name.toLowerCase()] || "";
}

/** @throws EngineError `invalid_argument` for a file that can't be read or holds no profile */
function seccompOf(profile: string): SecurityOptions["seccomp"] {
  if (profile === "" || profile === "builtin") return "default";
  if (profile === "unconfined") return profile;
  let text: string;
  try {
    text = fs.readFileSync(profile, "utf8");
  } catch (cause) {
    const why = isErrno(cause, "ENOENT") ? "no such file or directory" : cause;
    throw new EngineError("invalid_argument", `opening seccomp profile (${profile}) failed: ${why}`, {
      cause,
    });
  }
  return parseProfile(text);
}

/** @throws EngineError `invalid_argument` for a TCP port that would give the machine to everyone who reaches it */
export function checkHost(host: Host, { tls, openTcp }: Pick<Settings, "tls" | "openTcp">): void {
  if (host.kind !== "tcp" || isLoopback(host.hostname) || tls?.ca !== undefined || openTcp) return;
  const address = host.hostname.includes(":") ? `[${host.hostname}]` : host.hostname;
  throw new EngineError(
    "invalid_argument",
    `refusing to serve tcp://${address}:${host.port}: binding to an IP address without --tlsverify gives root access on this machine to ` +
      "everyone who has access to your network; if that is wanted, ask for it by --tls=false (no TLS) or --tlsverify=false (TLS without client certificates)",
  );
}

function check(settings: Settings): void {
  for (const host of settings.hosts)
    checkHost(parseHost(host, { tls: settings.tls !== undefined }), settings);
  if (settings.tls) readTls(settings.tls);
  socketGroup(settings.group);
  checkCgroupParent(settings.cgroupParent, settings.cgroupDriver);
  checkCgroupDriver(settings.cgroupDriver);
  for (const [name, runtime] of settings.runtimes) checkRuntime(name, runtime);
  try {
    chooseShim(settings.defaultRuntime, settings);
  } catch (cause) {
    const message = `specified default runtime '${settings.defaultRuntime}' does not exist`;
    throw new EngineError("invalid_argument", message, { cause });
  }
  const seen = new Map<string, string>();
  for (const label of settings.labels) {
    const key = label.slice(0, label.indexOf("="));
    const other = seen.get(key);
    if (other !== undefined && other !== label)
      throw new EngineError(
        "invalid_argument",
        `conflict labels for ${key}=${label.slice(key.length + 1)} and ${other}`,
      );
    seen.set(key, label);
  }
  checkLogConfig({ Type: settings.logDriver, Config: settings.logOpts });
}
