import { versionLine } from "@longshore/cli";
import { CliError } from "./cli-error.ts";
import { type Command, commandHelp, parseCommandLine } from "./command.ts";
import { findCommand, GROUPS, unsupportedCommand } from "./commands/names.ts";
import { EngineClient, EngineRefusal } from "./engine/client.ts";
import { engineHost } from "./engine/host.ts";
import type { TlsFlags } from "./engine/tls.ts";
import { type Flag, type ParsedArguments, parseFlags } from "./flags.ts";
import { print, printError } from "./io/output.ts";

const GLOBAL_FLAGS: readonly Flag[] = [
  { name: "config", kind: "string", help: "Location of client config files" },
  {
    name: "context",
    short: "c",
    kind: "string",
    help: "Name of the context to use to connect to the daemon",
  },
  { name: "tls", kind: "bool", help: "Use TLS; implied by --tlsverify" },
  { name: "tlscacert", kind: "string", help: "Trust certs signed only by this CA" },
  { name: "tlscert", kind: "string", help: "Path to TLS certificate file" },
  { name: "tlskey", kind: "string", help: "Path to TLS key file" },
  { name: "tlsverify", kind: "bool", help: "Use TLS and verify the remote" },
  { name: "host", short: "H", kind: "string", help: "Daemon socket to connect to" },
  { name: "version", short: "v", kind: "bool", help: "Print version information and quit" },
];

const UNSUPPORTED_GLOBAL_FLAGS: readonly string[] =
  "--debug -D --log-level -l --tls --tlscacert --tlscert --tlskey --tlsverify".split(" ");

function help(commands: Readonly<Record<string, Command>>): string {
  const names = Object.keys(commands)
    .filter((name) => !name.includes(" "))
    .sort();
  const width = Math.max(...names.map((name) => name.length)) + 3;
  return [
    "Usage:  docker [OPTIONS] COMMAND",
    "",
    "A client for the Docker Engine API",
    "",
    "Commands:",
    ...names.map((name) => `  ${name.padEnd(width)}${commands[name]?.summary ?? ""}`),
    "",
    "Global Options:",
    "      --config string    Location of client config files",
    "  -c, --context string   Name of the context to use to connect to the daemon",
    "  -H, --host string      Daemon socket to connect to",
    "      --tls              Use TLS; implied by --tlsverify",
    "      --tlscacert string Trust certs signed only by this CA",
    "      --tlscert string   Path to TLS certificate file",
    "      --tlskey string    Path to TLS key file",
    "      --tlsverify        Use TLS and verify the remote",
    "  -v, --version          Print version information and quit",
    "",
    "Run 'docker COMMAND --help' for more information on a command.",
  ].join("\n");
}

async function main(commands: Readonly<Record<string, Command>>, argv: readonly string[]): Promise<number> {
  const globals = parseGlobals(argv);
  const { args, flags } = globals;
  applyGlobals(flags);
  if (flags.bool("version")) {
    print(versionLine("docker"));
    return 0;
  }
  const words = args[0] === "help" ? args.slice(1) : args;
  if (words.length === 0 || globals.help) {
    print(help(commands));
    return 0;
  }
  const found = findCommand(words);
  const command = found && commands[found.name];
  if (!command) throw unknownCommand(words);
  if (args[0] === "help") {
    print(commandHelp(command));
    return 0;
  }
  const parsed = parseCommandLine(command, words.slice(found.words));
  if (parsed.help) {
    print(commandHelp(command));
    return 0;
  }
  return command.run({
    // For those that ask: there may be no engine to be found.
    get client() {
      return new EngineClient(engineHost(flags.string("host"), process.env, tlsFlags(flags)));
    },
    flags: parsed.flags,
    args: parsed.args,
  });
}

function tlsFlags(flags: ParsedArguments["flags"]): TlsFlags {
  const file = (name: string) => (flags.has(name) ? flags.string(name) : undefined);
  return {
    tls: flags.bool("tls"),
    verify: flags.has("tlsverify") ? flags.bool("tlsverify") : undefined,
    ...{ ca: file("tlscacert"), cert: file("tlscert"), key: file("tlskey") },
  };
}

/** What else reads them finds them in the environment. */
function applyGlobals(flags: ParsedArguments["flags"]): void {
  if (flags.has("config")) process.env.DOCKER_CONFIG = flags.string("config");
  if (!flags.has("context")) return;
  if (flags.has("host")) throw new CliError("conflicting options: cannot specify both --host and --context");
  process.env.DOCKER_CONTEXT = flags.string("context");
  delete process.env.DOCKER_HOST;
}

function parseGlobals(argv: readonly string[]): ParsedArguments {
  try {
    return parseFlags(argv, {
      flags: GLOBAL_FLAGS,
      unsupported: UNSUPPORTED_GLOBAL_FLAGS,
      stopAtArgument: true,
    });
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    const usage = "Usage:  docker [OPTIONS] COMMAND [ARG...]\n\nRun 'docker --help' for more information";
    throw new CliError(`${error.message}\n\n${usage}`, error.exitCode);
  }
}

function unknownCommand(words: readonly string[]): CliError {
  const known = unsupportedCommand(words);
  if (known !== undefined) return new CliError(`docker: 'docker ${known}' is not supported by this client`);
  const [first = "", second] = words;
  const group = GROUPS.includes(first);
  const name = group && second !== undefined ? `docker ${first} ${second}` : `docker ${first}`;
  const usage = group ? `\n\nUsage:  docker ${first}` : "";
  const hint = group ? `docker ${first} --help` : "docker --help";
  return new CliError(`docker: unknown command: ${name}${usage}\n\nRun '${hint}' for more information`);
}

function fail(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  if (message) printError(message);
  if (error instanceof Error && !isExpected(error)) printError(String(error.stack));
  process.exit(error instanceof CliError ? error.exitCode : 1);
}

/** What is not one of these is a bug of ours, and shown with its stack. */
function isExpected(error: Error): boolean {
  return error instanceof CliError || error instanceof EngineRefusal || error.name === "EngineError";
}

/** The whole of a `docker` process: one command of those that are in its file. */
export function cli(commands: Readonly<Record<string, Command>>, argv: readonly string[]): void {
  main(commands, argv).then((code) => process.exit(code), fail);
}
