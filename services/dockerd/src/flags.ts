import { UsageError } from "@longshore/cli";
import { checkValue } from "./config/config-file.ts";
import {
  OPTIONS,
  type Option,
  type OptionKey,
  type OptionValues,
  optionKeys,
  UNSUPPORTED,
} from "./config/options.ts";

/** A command line: what it asks for, and where else to look. */
export interface CommandLine {
  flags: OptionValues;
  /** Undefined when none was named. */
  configFile: string | undefined;
  /** Only say whether the configuration holds. */
  validate: boolean;
  /** Only take away what a daemon keeps in the kernel. */
  uninstall: boolean;
}

export const HELP = `
Usage: dockerd [OPTIONS]

Serves the Docker Engine API; runs containers through containerd.

Options:
      --add-runtime NAME=PATH        Register an OCI runtime
      --authorization-plugin NAME    Ask this plugin about each request and answer; may be given repeatedly
      --bip CIDR                     Address of the bridge
      --bip6 CIDR                    Its address of IPv6, with --ipv6
  -b, --bridge NAME                  Bridge of the default network (default "longshore0")
      --cgroup-parent PATH           Cgroup that containers are put under (default "/longshore"; with systemd: a slice, "system.slice")
      --config-file FILE             Daemon configuration file (default "/etc/longshore/daemon.json")
      --containerd SOCK              containerd's gRPC socket
      --containerd-namespace NS      containerd namespace (default "moby")
      --data-root DIR                Persistent state (default "/var/lib/longshore/dockerd")
  -D, --debug                        Log level debug
      --default-address-pool POOL    Where networks get their subnets, as base=CIDR,size=N; may be given repeatedly
      --default-cgroupns-mode MODE   Cgroup namespace of containers that don't say: private or host (default "private")
      --default-gateway ADDRESS      Where containers on the default bridge send what is for elsewhere (default: the bridge)
      --default-gateway-v6 ADDRESS   The same of IPv6, with --ipv6
      --default-ipc-mode MODE        IPC namespace of containers that don't say: private or shareable (default "private")
      --default-network-opt DRIVER=OPTION=VALUE  Option of networks of this driver that don't set it; may be given repeatedly
      --default-runtime NAME         Runtime of containers that name none (default "runc")
      --default-shm-size BYTES       Size of /dev/shm of containers that don't say (default 64MiB)
      --default-stop-timeout SECONDS  How long containers that don't say have to stop (default 10)
      --default-ulimit NAME=SOFT:HARD  Limit of containers that don't set it; may be given repeatedly
      --dns ADDRESS                  Name server of containers that name none; may be given repeatedly
      --dns-opt OPTION               Their option of resolv.conf; may be given repeatedly
      --dns-search DOMAIN            Their domain to search; may be given repeatedly
      --exec-opt KEY=VALUE           native.cgroupdriver=cgroupfs, or =systemd: containers are scopes of systemd's (default systemd where it runs with cgroup v2 alone)
      --exec-root DIR                Run-time state (default "/run/longshore/dockerd")
      --fixed-cidr CIDR              Part of the default bridge's subnet that containers get their addresses from
      --fixed-cidr-v6 CIDR           IPv6 subnet of the default bridge, with --ipv6; with --bip6 the part of it for containers
  -G, --group GROUP                  Group of the unix sockets (default "docker", where there is one)
  -H, --host HOST                    Where to serve: unix://PATH, tcp://HOST:PORT or fd:// (sockets from systemd); may be given
                                     repeatedly (default "unix:///run/longshore/docker.sock")
      --host-gateway-ip ADDRESS      What host-gateway means in --add-host (default: the bridge's address); may be given repeatedly
      --http-proxy URL               Proxy to registries by http (default: the environment's HTTP_PROXY)
      --https-proxy URL              Proxy to registries by https (default: the environment's HTTPS_PROXY)
      --icc                          Containers on the default bridge reach each other (default true)
      --init                         An init process in each container that doesn't say otherwise
      --init-path PROGRAM            Program of that process (default: docker-init or tini-static on PATH)
      --insecure-registry HOST|CIDR  Allow plain http and unverified certificates there; may be given repeatedly
      --ip ADDRESS                   Where ports of the default bridge are published that name no address (default 0.0.0.0)
      --ip-masq                      Containers on the default bridge go out by the host's address (default true)
      --ipv6                         IPv6 on the default bridge
      --label KEY=VALUE              Label of the daemon; may be given repeatedly
      --live-restore                 Let containers run on when the daemon ends (default true)
      --log-driver NAME              Log driver of containers that name none (default "json-file")
      --log-format FORMAT            How the daemon writes its log: text or json (default: pretty on a terminal, else json)
  -l, --log-level LEVEL              trace, debug, info, warn, error or fatal (default "info")
      --log-opt NAME=VALUE           Option of the log driver; may be given repeatedly
      --max-concurrent-downloads N   Downloads of layers at once; 0: all (default 3)
      --max-concurrent-uploads N     Uploads of layers at once; 0: all (default 5)
      --max-download-attempts N      How often a download is tried (default 5)
      --metrics-addr HOST:PORT       Serve metrics for Prometheus here
      --mtu N                        Bytes of a packet on the default bridge (default 1500)
      --nats-token-file FILE         NATS token; only the process in FILE.pid, if any, gets it
      --nats-url URL                 NATS server of the event streams
      --no-proxy HOSTS               Registries that are reached without a proxy (default: the environment's NO_PROXY)
      --no-new-privileges            no-new-privileges for containers that don't say
      --oom-score-adjust N           oom_score_adj of the daemon, -1000 to 1000
  -p, --pidfile FILE                 Write the process id here
      --raw-logs                     Text without colours in the log, also on a terminal
      --registry-client SOCK         registry-client's gRPC socket
      --registry-mirror URL          Try this mirror of Docker Hub first; may be given repeatedly
      --seccomp-profile PROFILE      Filter of containers that don't say: builtin, unconfined or a file (default "builtin")
      --shutdown-timeout SECONDS     How long containers have to end with --live-restore=false; -1: for ever (default 15)
      --store URL                    Keep state in Redis (redis://…), where other engines see it; else in the data root
      --tls                          TLS on TCP ports, clients verified unless --tlsverify=false
      --tlscacert FILE               Trust clients' certificates that this CA has signed (default "~/.docker/ca.pem")
      --tlscert FILE                 Certificate (default "~/.docker/cert.pem")
      --tlskey FILE                  Its key (default "~/.docker/key.pem")
      --tlsverify                    TLS, and clients must show a certificate
      --uninstall                    Take away networks, firewall rules and mounts of a daemon that has ended, and end
      --userns-remap USER[:GROUP]    Containers' ids are this user's ranges of subuid and subgid; "default": dockremap's
      --validate                     Say whether the configuration holds, and end
  -v, --version                      Print the version
`;

interface FlagTarget {
  key: OptionKey;
  option: Option;
}

const BY_FLAG = new Map<string, FlagTarget>(
  optionKeys.flatMap((key): [string, FlagTarget][] => {
    const option: Option = OPTIONS[key];
    const target = { key, option };
    if (option.flag === undefined) return [];
    return [
      [`--${option.flag}`, target],
      ...(option.short ? [[`-${option.short}`, target] as [string, FlagTarget]] : []),
    ];
  }),
);
const UNSUPPORTED_FLAGS = new Set(
  Object.entries(UNSUPPORTED).flatMap(([key, { flag }]) => [`--${key}`, `--${flag ?? key}`]),
);
for (const short of ["-s"]) UNSUPPORTED_FLAGS.add(short);

/** @throws UsageError for an unknown flag, a missing or a wrong value; EngineError for a value that isn't supported */
export function parseFlags(argv: readonly string[]): CommandLine {
  const raw = new Map<OptionKey, unknown>();
  let configFile: string | undefined;
  let validate = false;
  let uninstall = false;
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const [given, inline] = word.startsWith("-") ? splitOnce(word, "=") : [word, undefined];
    const next = () => {
      const value = inline ?? rest.shift();
      if (value === undefined) throw new UsageError(`flag needs an argument: ${given}`);
      return value;
    };
    const target = BY_FLAG.get(given);
    if (target) {
      const { key, option } = target;
      raw.set(
        key,
        option.kind === "switch" ? toSwitch(given, inline) : add(raw.get(key), option, given, next()),
      );
    } else if (given === "--config-file") configFile = next();
    else if (given === "--validate") validate = toSwitch(given, inline);
    else if (given === "--uninstall") uninstall = toSwitch(given, inline);
    else if (UNSUPPORTED_FLAGS.has(given)) throw new UsageError(`${given} is not supported`);
    else
      throw new UsageError(word.startsWith("-") ? `unknown flag: ${given}` : `unexpected argument: ${word}`);
  }
  const checked = [...raw].map(([key, value]) => {
    const { flag = key }: Option = OPTIONS[key];
    return [key, checkValue(key, value, `--${flag}`)];
  });
  return { flags: Object.fromEntries(checked) as OptionValues, configFile, validate, uninstall };
}

function toSwitch(flag: string, value: string | undefined): boolean {
  if (value === undefined || ["1", "t", "true"].includes(value.toLowerCase())) return true;
  if (["0", "f", "false"].includes(value.toLowerCase())) return false;
  throw new UsageError(`invalid argument ${JSON.stringify(value)} for ${JSON.stringify(flag)} flag`);
}

/** The value of an option after one more of its flags. */
function add(before: unknown, { kind }: Option, flag: string, value: string): unknown {
  if (kind === "list") return [...((before as string[] | undefined) ?? []), value];
  if (kind === "text" || kind === "switch") return value;
  if (kind === "number") {
    if (/^[+-]?\d+$/.test(value)) return Number(value);
    throw new UsageError(
      `invalid argument ${JSON.stringify(value)} for ${JSON.stringify(flag)} flag: strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`,
    );
  }
  const [name, inner] = splitOnce(value, "=");
  if (kind === "maps") {
    const [key, text] = splitOnce(inner ?? "", "=");
    if (text === undefined)
      throw new UsageError(
        `invalid argument ${JSON.stringify(value)} for ${JSON.stringify(flag)} flag: invalid value ${JSON.stringify(value)} for map option, should be root-key=key=value`,
      );
    const maps = before as Record<string, object> | undefined;
    return { ...maps, [name]: { ...maps?.[name], [key]: text } };
  }
  const wanted = kind === "map" ? "NAME=VALUE" : "NAME=PATH";
  if (name === "" || !inner) throw new UsageError(`invalid ${flag} ${value}: expected ${wanted}`);
  return { ...(before as object | undefined), [name]: kind === "map" ? inner : { path: inner } };
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}
