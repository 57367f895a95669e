import fs from "node:fs";
import { CliError } from "../cli-error.ts";
import { checkInteger, type Flag, type FlagValues } from "../flags.ts";
import { parseCpus, parseMemory } from "../format/units.ts";
import { HEALTH_FLAGS, healthcheck } from "./health-options.ts";
import { HOST_OPTION_FLAGS, hostOptions } from "./host-options.ts";
import { MOUNT_FLAGS, mountOptions } from "./mount-options.ts";
import { NETWORK_FLAGS, networkOptions } from "./network-options.ts";
import { PLATFORM_FLAG } from "./platform-option.ts";
import { isRestarting } from "./restart-policy.ts";

/** Flags of `create`, shared by `run`. */
export const CREATE_FLAGS: readonly Flag[] = [
  { name: "attach", short: "a", kind: "list", help: "Attach to STDIN, STDOUT or STDERR", check: checkAttach },
  { name: "cap-add", kind: "list", help: "Add Linux capabilities" },
  { name: "cap-drop", kind: "list", help: "Drop Linux capabilities" },
  { name: "cpus", kind: "string", value: "decimal", help: "Number of CPUs", check: (v) => void parseCpus(v) },
  { name: "entrypoint", kind: "string", help: "Overwrite the default ENTRYPOINT of the image" },
  { name: "env", short: "e", kind: "list", help: "Set environment variables", check: checkEnv },
  { name: "env-file", kind: "list", help: "Read in a file of environment variables" },
  { name: "hostname", short: "h", kind: "string", help: "Container host name" },
  { name: "interactive", short: "i", kind: "bool", help: "Keep STDIN open even if not attached" },
  { name: "label", short: "l", kind: "list", help: "Set meta data on a container" },
  {
    name: "memory",
    short: "m",
    kind: "string",
    value: "bytes",
    help: "Memory limit",
    check: (v) => void parseMemory(v),
  },
  { name: "name", kind: "string", help: "Assign a name to the container" },
  PLATFORM_FLAG,
  { name: "privileged", kind: "bool", help: "Give extended privileges to this container" },
  { name: "pull", kind: "string", help: 'Pull image before running ("always", "missing", "never")' },
  { name: "quiet", short: "q", kind: "bool", help: "Suppress the pull output" },
  { name: "read-only", kind: "bool", help: "Mount the container's root filesystem as read only" },
  { name: "rm", kind: "bool", help: "Automatically remove the container when it exits" },
  { name: "stop-signal", kind: "string", help: "Signal to stop the container" },
  {
    name: "stop-timeout",
    kind: "string",
    value: "int",
    help: "Timeout (in seconds) to stop a container",
    check: checkInteger,
  },
  { name: "tty", short: "t", kind: "bool", help: "Allocate a pseudo-TTY" },
  { name: "user", short: "u", kind: "string", help: "Username or UID (format: <name|uid>[:<group|gid>])" },
  { name: "workdir", short: "w", kind: "string", help: "Working directory inside the container" },
  { name: "cidfile", kind: "string", help: "Write the container ID to the file" },
  { name: "label-file", kind: "list", help: "Read in a line delimited file of labels" },
  { name: "domainname", kind: "string", help: "Container NIS domain name" },
  ...HEALTH_FLAGS,
  ...HOST_OPTION_FLAGS,
  ...NETWORK_FLAGS,
  ...MOUNT_FLAGS,
];

/** Flags of the original `create` and `run` that the engine can't do yet. */
export const UNSUPPORTED_CREATE_FLAGS: readonly string[] =
  `--cpu-count --cpu-percent --disable-content-trust --io-maxbandwidth --io-maxiops --use-api-socket`.split(
    /\s+/,
  );

/** The body of a create request, as far as flags can set it. */
export interface CreateBody {
  Image: string;
  Cmd?: string[];
  Entrypoint?: string[];
  Env: string[];
  ExposedPorts?: Record<string, object>;
  Labels: Record<string, string>;
  User: string;
  WorkingDir: string;
  Hostname: string;
  Domainname: string;
  Tty: boolean;
  OpenStdin: boolean;
  StdinOnce: boolean;
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  Volumes?: Record<string, object>;
  StopSignal?: string;
  StopTimeout?: number;
  Healthcheck?: object;
  HostConfig: {
    AutoRemove: boolean;
    NetworkMode: string;
    Privileged: boolean;
    ReadonlyRootfs: boolean;
    Memory: number;
    NanoCpus: number;
    ConsoleSize: [number, number];
    [field: string]: unknown;
  };
  NetworkingConfig: { EndpointsConfig: Record<string, unknown> };
}

/** @throws CliError for flags that contradict each other or name files that can't be read */
export function createBody(flags: FlagValues, [image = "", ...command]: readonly string[]): CreateBody {
  const attach = flags.list("attach").map((stream) => stream.toLowerCase());
  const interactive = flags.bool("interactive");
  const attachStdin = attach.includes("stdin") || interactive;
  const { mode, endpoints, host, exposed } = networkOptions(flags);
  linkThere(endpoints, mode, flags.list("link"));
  const options = hostOptions(flags);
  if (flags.bool("rm") && isRestarting(options.RestartPolicy)) {
    throw new CliError("conflicting options: cannot specify both --restart and --rm", 125);
  }
  const health = healthcheck(flags);
  const mounts = mountOptions(flags);
  return {
    Image: image,
    ...(health && { Healthcheck: health }),
    ...(command.length > 0 && { Cmd: command }),
    ...(flags.has("entrypoint") && { Entrypoint: [flags.string("entrypoint")] }),
    Env: environment(flags),
    ...(Object.keys(exposed).length > 0 && { ExposedPorts: exposed }),
    Labels: Object.fromEntries([
      ...flags.list("label-file").flatMap(readLines).map(keyValue),
      ...flags.list("label").map(keyValue),
    ]),
    User: flags.string("user"),
    WorkingDir: flags.string("workdir"),
    Hostname: flags.string("hostname"),
    Domainname: flags.string("domainname"),
    Tty: flags.bool("tty"),
    OpenStdin: interactive,
    StdinOnce: interactive && attachStdin,
    AttachStdin: attachStdin,
    AttachStdout: attach.length === 0 || attach.includes("stdout"),
    AttachStderr: attach.length === 0 || attach.includes("stderr"),
    ...(mounts.volumes && { Volumes: mounts.volumes }),
    ...(flags.has("stop-signal") && { StopSignal: flags.string("stop-signal") }),
    ...(flags.has("stop-timeout") && { StopTimeout: Number(flags.string("stop-timeout")) }),
    HostConfig: {
      AutoRemove: flags.bool("rm"),
      NetworkMode: mode,
      Privileged: flags.bool("privileged"),
      ReadonlyRootfs: flags.bool("read-only"),
      Memory: flags.has("memory") ? parseMemory(flags.string("memory")) : 0,
      NanoCpus: flags.has("cpus") ? parseCpus(flags.string("cpus")) : 0,
      ConsoleSize: [0, 0],
      ...options,
      ...host,
      ...mounts.host,
    },
    NetworkingConfig: { EndpointsConfig: endpoints },
  };
}

/** On a network of users links are the endpoint's. */
function linkThere(endpoints: Record<string, object>, mode: string, links: readonly string[]): void {
  if (links.length === 0 || /^(default|bridge|host|none|container:.*)$/.test(mode)) return;
  endpoints[mode] = { ...endpoints[mode], Links: [...links] };
}

/** `--env-file` first, then `--env`, which has the last word; `NAME` alone takes our own value, if there is one. */
export function environment(flags: FlagValues): string[] {
  const fromFiles = flags.list("env-file").flatMap(readEnvFile);
  return [...fromFiles, ...flags.list("env").flatMap(withOwnValue)];
}

function withOwnValue(entry: string): string[] {
  if (entry.includes("=")) return [entry];
  const value = process.env[entry];
  return value === undefined ? [] : [`${entry}=${value}`];
}

/** Lines of a file of variables or labels, without comments and empty ones. */
function readLines(file: string): string[] {
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    const why = code === "ENOENT" ? "no such file or directory" : String(error);
    throw new CliError(`open ${file}: ${why}`, 125);
  }
  const lines = text
    .replace(/^\ufeff/, "")
    .split(/\r?\n/)
    .map((line) => line.trimStart());
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

function readEnvFile(file: string): string[] {
  return readLines(file).flatMap((line) => {
    const [name = ""] = line.split("=", 1);
    if (name === "")
      throw new CliError(`invalid env file (${file}): no variable name on line '${line}'`, 125);
    if (/\s/.test(name)) {
      throw new CliError(`invalid env file (${file}): variable '${name}' contains whitespaces`, 125);
    }
    return withOwnValue(line);
  });
}

function keyValue(entry: string): [string, string] {
  const equals = entry.indexOf("=");
  return equals < 0 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
}

function checkEnv(value: string): void {
  if (value === "" || value.startsWith("=")) throw new Error(`invalid environment variable: ${value}`);
}

function checkAttach(value: string): void {
  if (!["stdin", "stdout", "stderr"].includes(value.toLowerCase())) {
    throw new Error("valid streams are STDIN, STDOUT and STDERR");
  }
}
