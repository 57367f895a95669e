import net from "node:net";
import { LOG_LEVELS } from "@longshore/log";
import { DRIVER_NAMES } from "@longshore/log-drivers";
import { checkPools } from "@longshore/network";
import { RLIMITS } from "@longshore/syscalls";
import { z } from "zod";
import { checkMinApiVersion } from "../http/api-version.ts";
import { parseMetricsAddress } from "../metrics/serve-metrics.ts";
import { checkRemap } from "../userns/remap.ts";
import { parseExecOpts } from "./cgroup-driver.ts";
import { parseHost } from "./hosts.ts";
import { runtimeSchema } from "./runtimes.ts";
import { parseRamSize } from "./sizes.ts";

const MTU_MIN = 68;
const MTU_MAX = 65_535;

/**
 * How a flag's value is written: `key=value` for a map, `outer=key=value` for maps of maps, NAME=PATH for runtimes; lists, maps and runtimes
 * may be given repeatedly.
 */
export type FlagKind = "text" | "number" | "switch" | "list" | "map" | "maps" | "runtimes";

export interface Option {
  /** The flag's name, without dashes; left out for what only the file has. */
  flag?: string;
  short?: string;
  kind: FlagKind;
  schema: z.ZodType;
}

const socket = z.string().transform((value) => value.replace(/^unix:\/\//, ""));
const host = z.string().superRefine((value, context) => {
  try {
    parseHost(value, { tls: false });
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
  }
});
const logLevel = z.enum(LOG_LEVELS, { error: ({ input }) => `unknown log level: ${input}` });
const label = z.string().regex(/^[^=]+=/, { error: ({ input }) => `bad attribute format: ${input}` });
/** Docker's word for having no default network is not a name here. */
const bridge = z
  .string()
  .refine((name) => name !== "none", { message: '"none" is not supported: there is always a default bridge' })
  .refine((name) => /^[^\s/:]{1,15}$/.test(name) && name !== "." && name !== "..", {
    message: "no name for an interface, of 1 to 15 characters",
  });
const logDriver = z.string().refine((name) => DRIVER_NAMES.includes(name), {
  error: ({ input }) => `logger: no log driver named '${input}' is registered`,
});
// Which there may be depends on the driver: checked with it (`settings.ts`).
const logOpts = z.record(z.string(), z.string());
const insecureRegistry = z
  .string()
  .refine((value) => !value.includes("://"), {
    error: ({ input }) => `insecure registry ${input} should not contain '://'`,
  })
  .refine((value) => !value.includes("/") || isCidr(value), {
    error: ({ input }) => `insecure registry ${input} is not valid: invalid CIDR address: ${input}`,
  });
const mirror = z.string().refine(isMirror, {
  error: ({ input }) => `invalid mirror: ${input} is not an http(s) URL without credentials or query`,
});

function isCidr(text: string): boolean {
  const [address = "", bits = "", ...more] = text.split("/");
  const most = { 0: -1, 4: 32, 6: 128 }[net.isIP(address)] ?? -1;
  return more.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= most;
}

/** Transfers at once or attempts, in Docker's words for what is none. */
const count = (what: string, least: number) =>
  z
    .number()
    .int()
    .refine((value) => value >= least, { error: ({ input }) => `invalid ${what}: ${input}` });

const ipAddress = z.string().refine((value) => net.isIP(value) !== 0, {
  error: ({ input }) => `${input} is not an IP address`,
});

/** An object in the file, `base=10.9.0.0/16,size=24` as a flag. */
const addressPool = z.union([
  z.string().transform((text) => {
    const fields = Object.fromEntries(text.split(",").map((field) => field.split("=").map((s) => s.trim())));
    return { base: fields.base ?? "", size: Number(fields.size ?? Number.NaN) };
  }),
  z.object({ base: z.string(), size: z.number() }),
]);
const execOpts = z.array(z.string()).superRefine((options, context) => {
  try {
    parseExecOpts(options);
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
  }
});
/** A ulimit as a flag has it, `1024:2048` (soft, hard), or as the file has it. */
const ulimit = z.union(
  [
    z
      .string()
      .regex(/^-?\d+(:-?\d+)?$/)
      .transform((text) => {
        const [soft = 0, hard = soft] = text.split(":").map(Number);
        return { Soft: soft, Hard: hard };
      }),
    z
      .strictObject({ Name: z.string().optional(), Soft: z.number().int(), Hard: z.number().int() })
      .transform(({ Soft, Hard }) => ({ Soft, Hard })),
  ],
  { error: "expected SOFT[:HARD], or an object with Name, Soft and Hard" },
);
const ulimits = z.record(z.string(), ulimit).superRefine((limits, context) => {
  for (const [name, { Soft, Hard }] of Object.entries(limits)) {
    if (!Object.hasOwn(RLIMITS, `RLIMIT_${name.toUpperCase()}`))
      context.addIssue({ code: "custom", path: [name], message: `invalid ulimit type: ${name}` });
    else if (Hard !== -1 && (Soft === -1 || Soft > Hard))
      context.addIssue({
        code: "custom",
        path: [name],
        message: `ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`,
      });
  }
});
const ramSize = z.union([z.string(), z.number()]).transform((value, context) => {
  const bytes = typeof value === "number" ? value : parseRamSize(value);
  if (bytes !== undefined && Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  context.addIssue({ code: "custom", message: `invalid size: '${value}'` });
  return z.NEVER;
});
/** A text that a function has an error for, or none. */
const checkedBy = (check: (value: string) => unknown) =>
  z.string().superRefine((value, context) => {
    try {
      if (value !== "") check(value);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
    }
  });
const oneOf = (what: string, values: readonly string[]) =>
  z.string().refine((value) => values.includes(value), {
    error: ({ input }) => `${what} can only be ${values.join(" or ")}, not ${JSON.stringify(input)}`,
  });

const storeUrl = z
  .string()
  .refine((value) => ["redis:", "rediss:"].includes(URL.parse(value)?.protocol ?? ""), {
    error: ({ input }) => `invalid store ${input}: expected redis://HOST:PORT/DATABASE`,
  });

function isMirror(text: string): boolean {
  const url = URL.parse(text);
  return (
    (url?.protocol === "http:" || url?.protocol === "https:") &&
    url.username + url.password + url.search + url.hash === ""
  );
}

const ipv4 = z.string().refine((value) => net.isIPv4(value), {
  error: ({ input }) => `ip: ${input} is no IPv4 address`,
});
const mtu = z
  .union([z.number(), z.string().regex(/^\d+$/)])
  .transform(Number)
  .refine((value) => value === 0 || (Number.isInteger(value) && value >= MTU_MIN && value <= MTU_MAX), {
    error: () => `mtu: not 0, for the default, nor from ${MTU_MIN} to ${MTU_MAX}`,
  });
const NET = { 4: net.isIPv4, 6: net.isIPv6 };
/** An address of one family and the length of its prefix; empty as if it were not there. */
const cidr = (family: 4 | 6) =>
  z
    .string()
    .refine(
      (value) => value === "" || (/^[^/%]+\/\d{1,3}$/.test(value) && NET[family](value.split("/")[0] ?? "")),
      { error: ({ input }) => `invalid CIDR address: ${input}` },
    );
const router = (key: string, family: 4 | 6) =>
  z.string().refine((value) => value === "" || NET[family](value), {
    error: ({ input }) => `${key}: ${input} is no IPv${family} address`,
  });

/** Every option that is carried out, by its key in the configuration file. */
export const OPTIONS = {
  "shutdown-timeout": { flag: "shutdown-timeout", kind: "number", schema: z.number().int().min(-1) },
  "seccomp-profile": { flag: "seccomp-profile", kind: "text", schema: z.string() },
  "raw-logs": { flag: "raw-logs", kind: "switch", schema: z.boolean() },
  "oom-score-adjust": {
    flag: "oom-score-adjust",
    kind: "number",
    schema: z.number().int().min(-1000).max(1000),
  },
  "no-new-privileges": { flag: "no-new-privileges", kind: "switch", schema: z.boolean() },
  "metrics-addr": { flag: "metrics-addr", kind: "text", schema: checkedBy(parseMetricsAddress) },
  "log-format": { flag: "log-format", kind: "text", schema: oneOf("log format", ["text", "json"]) },
  "live-restore": { flag: "live-restore", kind: "switch", schema: z.boolean() },
  "default-ulimits": { flag: "default-ulimit", kind: "map", schema: ulimits },
  "default-shm-size": { flag: "default-shm-size", kind: "text", schema: ramSize },
  "default-ipc-mode": {
    flag: "default-ipc-mode",
    kind: "text",
    schema: oneOf("default IPC mode", ["private", "shareable"]),
  },
  "default-cgroupns-mode": {
    flag: "default-cgroupns-mode",
    kind: "text",
    schema: oneOf("default cgroup namespace mode", ["private", "host"]),
  },
  "authorization-plugins": { flag: "authorization-plugin", kind: "list", schema: z.array(z.string()) },
  bip: { flag: "bip", kind: "text", schema: z.string() },
  bip6: { flag: "bip6", kind: "text", schema: cidr(6) },
  bridge: { flag: "bridge", short: "b", kind: "text", schema: bridge },
  "cgroup-parent": { flag: "cgroup-parent", kind: "text", schema: z.string() },
  containerd: { flag: "containerd", kind: "text", schema: socket },
  "containerd-namespace": { flag: "containerd-namespace", kind: "text", schema: z.string() },
  "data-root": { flag: "data-root", kind: "text", schema: z.string() },
  debug: { flag: "debug", short: "D", kind: "switch", schema: z.boolean() },
  "default-address-pools": {
    flag: "default-address-pool",
    kind: "list",
    schema: z.array(addressPool).superRefine((pools, context) => {
      try {
        checkPools(pools);
      } catch (error) {
        context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
      }
    }),
  },
  "default-gateway": { flag: "default-gateway", kind: "text", schema: router("default-gateway", 4) },
  "default-gateway-v6": {
    flag: "default-gateway-v6",
    kind: "text",
    schema: router("default-gateway-v6", 6),
  },
  "default-network-opts": {
    flag: "default-network-opt",
    kind: "maps",
    schema: z.record(z.string(), z.record(z.string(), z.string())),
  },
  "default-stop-timeout": {
    flag: "default-stop-timeout",
    kind: "number",
    schema: count("default stop timeout", 0),
  },
  "min-api-version": { kind: "text", schema: checkedBy(checkMinApiVersion) },
  "default-runtime": { flag: "default-runtime", kind: "text", schema: z.string() },
  dns: { flag: "dns", kind: "list", schema: z.array(ipAddress) },
  "dns-opts": { flag: "dns-opt", kind: "list", schema: z.array(z.string()) },
  "dns-search": { flag: "dns-search", kind: "list", schema: z.array(z.string()) },
  "exec-opts": { flag: "exec-opt", kind: "list", schema: execOpts },
  "exec-root": { flag: "exec-root", kind: "text", schema: z.string() },
  group: { flag: "group", short: "G", kind: "text", schema: z.string() },
  "fixed-cidr": { flag: "fixed-cidr", kind: "text", schema: cidr(4) },
  "fixed-cidr-v6": { flag: "fixed-cidr-v6", kind: "text", schema: cidr(6) },
  hosts: { flag: "host", short: "H", kind: "list", schema: z.array(host) },
  "host-gateway-ips": { flag: "host-gateway-ip", kind: "list", schema: z.array(ipAddress) },
  icc: { flag: "icc", kind: "switch", schema: z.boolean() },
  init: { flag: "init", kind: "switch", schema: z.boolean() },
  "init-path": { flag: "init-path", kind: "text", schema: z.string() },
  "insecure-registries": { flag: "insecure-registry", kind: "list", schema: z.array(insecureRegistry) },
  ip: { flag: "ip", kind: "text", schema: ipv4 },
  "ip-masq": { flag: "ip-masq", kind: "switch", schema: z.boolean() },
  ipv6: { flag: "ipv6", kind: "switch", schema: z.boolean() },
  labels: { flag: "label", kind: "list", schema: z.array(label) },
  "log-driver": { flag: "log-driver", kind: "text", schema: logDriver },
  "log-level": { flag: "log-level", short: "l", kind: "text", schema: logLevel },
  "log-opts": { flag: "log-opt", kind: "map", schema: logOpts },
  "http-proxy": { flag: "http-proxy", kind: "text", schema: z.string() },
  "https-proxy": { flag: "https-proxy", kind: "text", schema: z.string() },
  "no-proxy": { flag: "no-proxy", kind: "text", schema: z.string() },
  "max-concurrent-downloads": {
    flag: "max-concurrent-downloads",
    kind: "number",
    schema: count("max concurrent downloads", 0),
  },
  "max-concurrent-uploads": {
    flag: "max-concurrent-uploads",
    kind: "number",
    schema: count("max concurrent uploads", 0),
  },
  "max-download-attempts": {
    flag: "max-download-attempts",
    kind: "number",
    schema: count("max download attempts", 1),
  },
  mtu: { flag: "mtu", kind: "text", schema: mtu },
  "nats-token-file": { flag: "nats-token-file", kind: "text", schema: z.string() },
  "nats-url": { flag: "nats-url", kind: "text", schema: z.string() },
  pidfile: { flag: "pidfile", short: "p", kind: "text", schema: z.string() },
  "registry-client": { flag: "registry-client", kind: "text", schema: socket },
  "registry-mirrors": { flag: "registry-mirror", kind: "list", schema: z.array(mirror) },
  store: { flag: "store", kind: "text", schema: storeUrl },
  tls: { flag: "tls", kind: "switch", schema: z.boolean() },
  tlscacert: { flag: "tlscacert", kind: "text", schema: z.string() },
  tlscert: { flag: "tlscert", kind: "text", schema: z.string() },
  tlskey: { flag: "tlskey", kind: "text", schema: z.string() },
  tlsverify: { flag: "tlsverify", kind: "switch", schema: z.boolean() },
  "userns-remap": { flag: "userns-remap", kind: "text", schema: checkedBy(checkRemap) },
  runtimes: { flag: "add-runtime", kind: "runtimes", schema: z.record(z.string(), runtimeSchema) },
} as const satisfies Record<string, Option>;

export type OptionKey = keyof typeof OPTIONS;
/** What was asked for, by flags or by the file. */
export type OptionValues = { [K in OptionKey]?: z.output<(typeof OPTIONS)[K]["schema"]> };

export const optionKeys = Object.keys(OPTIONS) as OptionKey[];

/**
 * Docker's other options, by key, and the values that ask for nothing beyond what is so here anyway. With another value they are refused.
 */
export const UNSUPPORTED: Readonly<Record<string, { flag?: string; harmless: readonly unknown[] }>> = {
  "allow-direct-routing": { harmless: [false] },
  "allow-nondistributable-artifacts": { harmless: [[]] },
  "api-cors-header": { harmless: [""] },
  "bridge-accept-fwmark": { harmless: [""] },
  builder: { harmless: [{}] },
  "cdi-spec-dirs": { flag: "cdi-spec-dir", harmless: [[]] },
  "containerd-plugin-namespace": { flag: "containerd-plugins-namespace", harmless: ["plugins.moby"] },
  "cpu-rt-period": { harmless: [0] },
  "cpu-rt-runtime": { harmless: [0] },
  "cri-containerd": { harmless: [false] },
  "default-init": { harmless: [""] },
  experimental: { harmless: [false] },
  // Images are containerd's here, and there is no builder.
  features: {
    flag: "feature",
    harmless: [
      {},
      { "containerd-snapshotter": true },
      { buildkit: false },
      { buildkit: false, "containerd-snapshotter": true },
      { "containerd-snapshotter": true, buildkit: false },
    ],
  },
  "firewall-backend": { harmless: ["", "nftables"] },
  "host-gateway-ip": { harmless: [""] },
  ip6tables: { harmless: [true] },
  "ip-forward": { harmless: [true] },
  "ip-forward-no-drop": { harmless: [false] },
  iptables: { harmless: [true] },
  "network-control-plane-mtu": { harmless: [1500] },
  "network-diagnostic-port": { harmless: [0] },
  "node-generic-resources": { flag: "node-generic-resource", harmless: [[]] },
  "nri-opts": { flag: "nri-opts", harmless: [{}, { enable: false }] },
  "resolv-conf": { harmless: [""] },
  rootless: { harmless: [false] },
  "selinux-enabled": { harmless: [false] },
  "storage-driver": { flag: "storage-driver", harmless: ["overlayfs"] },
  "storage-opts": { flag: "storage-opt", harmless: [[]] },
  "swarm-default-advertise-addr": { harmless: [""] },
  "swarm-raft-election-tick": { harmless: [0] },
  "swarm-raft-heartbeat-tick": { harmless: [0] },
  "userland-proxy": { harmless: [false] },
  "userland-proxy-path": { harmless: [""] },
};
