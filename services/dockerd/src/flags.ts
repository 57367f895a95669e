import { UsageError } from "@longshore/cli";
import { LOG_LEVELS, type LogLevel } from "@longshore/log";

/** How this daemon was set up on its command line. */
export interface DaemonFlags {
  hosts: string[];
  dataRoot: string;
  execRoot: string;
  containerdSocket: string;
  containerdNamespace: string;
  registrySocket: string;
  natsUrl: string | undefined;
  natsTokenFile: string | undefined;
  bridge: string;
  bip: string | undefined;
  cgroupParent: string;
  defaultRuntime: string;
  /** Runtime name → path of its binary; the empty path is the runc beside this daemon, else the one on PATH. */
  runtimes: Map<string, string>;
  logLevel: LogLevel;
  debug: boolean;
  pidfile: string | undefined;
}

export const HELP = `
Usage: dockerd [OPTIONS]

Serves the Docker Engine API; runs containers through containerd.

Options:
      --add-runtime NAME=PATH        Register an OCI runtime
      --bip CIDR                     Address of the bridge
      --bridge NAME                  Bridge of the default network (default "longshore0")
      --cgroup-parent PATH           Cgroup that containers are put under (default "/longshore")
      --containerd SOCK              containerd's gRPC socket
      --containerd-namespace NS      containerd namespace (default "moby")
      --data-root DIR                Persistent state (default "/var/lib/longshore/dockerd")
  -D, --debug                        Log level debug
      --default-runtime NAME         Runtime of containers that name none (default "runc")
      --exec-root DIR                Run-time state (default "/run/longshore/dockerd")
  -H, --host unix://SOCK             Where to serve; may be given repeatedly (default "unix:///run/longshore/docker.sock")
  -l, --log-level LEVEL              trace, debug, info, warn, error or fatal (default "info")
      --nats-token-file FILE         File with the NATS token
      --nats-url URL                 NATS server of the event streams
  -p, --pidfile FILE                 Write the process id here
      --registry-client SOCK         registry-client's gRPC socket
  -v, --version                      Print the version
`;

type Assign = (flags: DaemonFlags, value: string) => void;

const VALUE_FLAGS: Record<string, Assign> = {
  "--host": (flags, value) => flags.hosts.push(checkHost(value)),
  "--data-root": (flags, value) => {
    flags.dataRoot = value;
  },
  "--exec-root": (flags, value) => {
    flags.execRoot = value;
  },
  "--containerd": (flags, value) => {
    flags.containerdSocket = value.replace(/^unix:\/\//, "");
  },
  "--containerd-namespace": (flags, value) => {
    flags.containerdNamespace = value;
  },
  "--registry-client": (flags, value) => {
    flags.registrySocket = value.replace(/^unix:\/\//, "");
  },
  "--nats-url": (flags, value) => {
    flags.natsUrl = value;
  },
  "--nats-token-file": (flags, value) => {
    flags.natsTokenFile = value;
  },
  "--bridge": (flags, value) => {
    flags.bridge = value;
  },
  "--bip": (flags, value) => {
    flags.bip = value;
  },
  "--cgroup-parent": (flags, value) => {
    flags.cgroupParent = value;
  },
  "--default-runtime": (flags, value) => {
    flags.defaultRuntime = value;
  },
  "--add-runtime": (flags, value) => {
    const [name, file] = splitOnce(value, "=");
    if (name === "" || !file) throw new UsageError(`invalid --add-runtime ${value}: expected NAME=PATH`);
    flags.runtimes.set(name, file);
  },
  "--log-level": (flags, value) => {
    if (!LOG_LEVELS.includes(value as LogLevel)) throw new UsageError(`unknown log level: ${value}`);
    flags.logLevel = value as LogLevel;
  },
  "--pidfile": (flags, value) => {
    flags.pidfile = value;
  },
};

const SHORT: Record<string, string> = {
  "-H": "--host",
  "-l": "--log-level",
  "-p": "--pidfile",
  "-D": "--debug",
};

/** @throws UsageError for an unknown flag, a missing or a wrong value */
export function parseFlags(argv: readonly string[]): DaemonFlags {
  const flags: DaemonFlags = {
    hosts: [],
    dataRoot: "/var/lib/longshore/dockerd",
    execRoot: "/run/longshore/dockerd",
    containerdSocket: "/run/longshore/containerd/containerd.sock",
    containerdNamespace: "moby",
    registrySocket: "/run/longshore/registry-client.sock",
    natsUrl: undefined,
    natsTokenFile: undefined,
    bridge: "longshore0",
    bip: undefined,
    cgroupParent: "/longshore",
    defaultRuntime: "runc",
    runtimes: new Map([["runc", ""]]),
    logLevel: "info",
    debug: false,
    pidfile: undefined,
  };
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const [given, inline] = word.startsWith("-") ? splitOnce(word, "=") : [word, undefined];
    const name = SHORT[given] ?? given;
    if (name === "--debug") {
      flags.debug = inline !== "false";
      continue;
    }
    const assign = VALUE_FLAGS[name];
    if (!assign)
      throw new UsageError(word.startsWith("-") ? `unknown flag: ${given}` : `unexpected argument: ${word}`);
    const value = inline ?? rest.shift();
    if (value === undefined) throw new UsageError(`flag needs an argument: ${given}`);
    assign(flags, value);
  }
  if (flags.hosts.length === 0) flags.hosts.push("unix:///run/longshore/docker.sock");
  if (flags.debug) flags.logLevel = "debug";
  if (!flags.runtimes.has(flags.defaultRuntime)) {
    throw new UsageError(
      `the default runtime ${flags.defaultRuntime} is not registered: add it with --add-runtime`,
    );
  }
  return flags;
}

function checkHost(host: string): string {
  if (!host.startsWith("unix:///"))
    throw new UsageError(`unsupported host ${host}: only unix:///PATH is served`);
  return host;
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
