import { UsageError } from "@longshore/cli";
import { LOG_LEVELS, type LogLevel } from "@longshore/log";

export const HELP = `Usage: containerd [OPTIONS] [COMMAND]

Run containers and keep their images, for clients that speak containerd's gRPC API.

Commands:
  config default|dump   Print the configuration: built in, or as the configuration file makes it
  publish               Publish one event, a protobuf Any on stdin (--namespace NS --topic TOPIC)

Options:
  -a, --address SOCK           Unix socket of the gRPC API; shims send events to SOCK.ttrpc
  -c, --config FILE            Configuration file (default /etc/longshore/containerd.toml, when it exists)
  -l, --log-level LEVEL        ${LOG_LEVELS.join(", ")}
      --nats-token-file FILE   Token of the NATS server; only the process in FILE.pid, if any, gets it
      --nats-url URL           NATS server that events are published to; none when left out
      --root DIR               What must survive a reboot
      --state DIR              What must not
  -h, --help                   Print this
  -v, --version                Print the version
`;

/** Settings that the command line may give, each as it was written. */
const VALUE_FLAGS = [
  "address",
  "config",
  "log-level",
  "namespace",
  "nats-token-file",
  "nats-url",
  "root",
  "state",
  "topic",
] as const;
export type FlagName = (typeof VALUE_FLAGS)[number];

const SHORT: Readonly<Record<string, FlagName>> = { a: "address", c: "config", l: "log-level" };

export interface CommandLine {
  flags: ReadonlyMap<FlagName, string>;
  args: readonly string[];
  help: boolean;
  version: boolean;
}

/**
 * Flags and words in any order, `--name value`, `--name=value` and, as Go's flag package takes it, `-name value`.
 * @throws UsageError for a flag that does not exist or lacks its value
 */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const flags = new Map<FlagName, string>();
  const args: string[] = [];
  let help = false;
  let version = false;
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    if (!word.startsWith("-") || word === "-") {
      args.push(word);
      continue;
    }
    const [written, inline] = split(word.replace(/^--?/, ""));
    if (written === "h" || written === "help") help = true;
    else if (written === "v" || written === "version") version = true;
    else {
      const name = SHORT[written] ?? VALUE_FLAGS.find((flag) => flag === written);
      if (name === undefined) throw new UsageError(`flag provided but not defined: -${written}`);
      const value = inline ?? argv[++i];
      if (value === undefined) throw new UsageError(`flag needs an argument: -${written}`);
      flags.set(name, value);
    }
  }
  return { flags, args, help, version };
}

/** @throws UsageError in the words of the original */
export function parseLogLevel(value: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === value.toLowerCase());
  if (level === undefined) throw new UsageError(`not a valid logrus Level: ${JSON.stringify(value)}`);
  return level;
}

function split(flag: string): [name: string, value: string | undefined] {
  const at = flag.indexOf("=");
  return at < 0 ? [flag, undefined] : [flag.slice(0, at), flag.slice(at + 1)];
}
