import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { UsageError } from "@longshore/cli";
import { LOG_LEVELS, type LogLevel } from "@longshore/log";
import { type Platform, parsePlatform } from "./platform.ts";
import type { HostOptions } from "./registry/hosts.ts";

export const HELP = `Usage: registry-client COMMAND [OPTIONS]

Resolves image names at registries and pulls images into containerd's content store.

Commands:
  serve           Serve pulls over gRPC (longshore.registry.v1)
  pull REF        Pull an image into a containerd; prints its digest
  resolve REF     Print what a name points to, as JSON
  manifest REF    Print a manifest or an index as the registry has it

Options of serve:
  -a, --address SOCK          Where to listen (default /run/longshore/registry-client.sock)
  -l, --log-level LEVEL       ${LOG_LEVELS.join(", ")} (default info)

Options of serve and pull:
      --containerd SOCK       containerd's socket (default /run/longshore/containerd/containerd.sock)

Options of all:
      --insecure-registry HOST[:PORT]   Allow plain http and unverified certificates there (repeatable)
      --registry-mirror URL             Try this mirror of Docker Hub first (repeatable)

Options of pull, resolve and manifest:
  -u, --username NAME         Log in to the registry
      --password-stdin        Read the password from stdin

Options of pull:
  -n, --namespace NS          containerd namespace (default default)
      --platform OS/ARCH[/VARIANT]      Instead of the host's
`;

export interface ServeFlags {
  address: string;
  containerd: string;
  logLevel: LogLevel;
  hosts: HostOptions;
}

export interface ToolFlags {
  reference: string;
  username: string;
  passwordStdin: boolean;
  hosts: HostOptions;
}

export interface PullFlags extends ToolFlags {
  containerd: string;
  namespace: string;
  platform: Platform | undefined;
}

const CONTAINERD = "/run/longshore/containerd/containerd.sock";

const HOSTS = {
  "insecure-registry": { type: "string", multiple: true },
  "registry-mirror": { type: "string", multiple: true },
} as const;

const LOGIN = {
  username: { type: "string", short: "u" },
  "password-stdin": { type: "boolean" },
} as const;

export function parseServeFlags(args: string[]): ServeFlags {
  const { values, positionals } = parse(args, {
    ...HOSTS,
    address: { type: "string", short: "a" },
    containerd: { type: "string" },
    "log-level": { type: "string", short: "l" },
  });
  if (positionals.length > 0) throw new UsageError(`serve takes no argument: ${positionals[0]}`);
  const logLevel = LOG_LEVELS.find((level) => level === (values["log-level"] ?? "info"));
  if (!logLevel) throw new UsageError(`unknown log level ${JSON.stringify(values["log-level"])}`);
  return {
    address: values.address ?? "/run/longshore/registry-client.sock",
    containerd: values.containerd ?? CONTAINERD,
    logLevel,
    hosts: hostsOf(values),
  };
}

export function parseToolFlags(command: string, args: string[]): ToolFlags {
  const { values, positionals } = parse(args, { ...HOSTS, ...LOGIN });
  return toolFlags(command, values, positionals);
}

export function parsePullFlags(args: string[]): PullFlags {
  const { values, positionals } = parse(args, {
    ...HOSTS,
    ...LOGIN,
    containerd: { type: "string" },
    namespace: { type: "string", short: "n" },
    platform: { type: "string" },
  });
  return {
    ...toolFlags("pull", values, positionals),
    containerd: values.containerd ?? CONTAINERD,
    namespace: values.namespace ?? "default",
    platform: values.platform === undefined ? undefined : parsePlatform(values.platform),
  };
}

interface HostValues {
  "insecure-registry"?: string[] | undefined;
  "registry-mirror"?: string[] | undefined;
}

function toolFlags(
  command: string,
  values: HostValues & { username?: string | undefined; "password-stdin"?: boolean | undefined },
  positionals: string[],
): ToolFlags {
  const [reference] = positionals;
  if (reference === undefined || positionals.length > 1) {
    throw new UsageError(`${command} takes one image name, not ${positionals.length}`);
  }
  const { username = "", "password-stdin": passwordStdin = false } = values;
  if (passwordStdin !== (username !== "")) {
    throw new UsageError("--username and --password-stdin go together");
  }
  return { reference, username, passwordStdin, hosts: hostsOf(values) };
}

function hostsOf(values: HostValues): HostOptions {
  const mirrors = values["registry-mirror"] ?? [];
  for (const mirror of mirrors) {
    const url = URL.parse(mirror);
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
      throw new UsageError(`--registry-mirror wants an http(s) URL without credentials or query: ${mirror}`);
    }
  }
  return { insecureRegistries: values["insecure-registry"] ?? [], mirrors };
}

function parse<T extends ParseArgsOptionsConfig>(args: string[], options: T) {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
