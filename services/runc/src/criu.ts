import { EngineError } from "@longshore/errors";
import type { Namespace, Spec } from "@longshore/oci";
import { exists, mkdirAll, O_CLOEXEC, O_RDONLY, openFile, readTextIfExists, stat } from "@longshore/syscalls";
import { absolute } from "./command.ts";
import type { FlagKind, Parsed } from "./flags.ts";
import { log } from "./log.ts";

// Checkpoint and restore are criu's work (https://criu.org/CLI); here it is told what is the container's and what the machine's.

/** Flags that `checkpoint` and `restore` share. */
export const CRIU_FLAGS = {
  "image-path": "value",
  "work-path": "value",
  "tcp-established": "switch",
  "ext-unix-sk": "switch",
  "shell-job": "switch",
  "file-locks": "switch",
  "manage-cgroups-mode": "value",
  "empty-ns": "list",
  "auto-dedup": "switch",
  "lazy-pages": "switch",
} as const satisfies Record<string, FlagKind>;

/** Runc's switch → criu's. */
const SWITCHES: Readonly<Record<string, string>> = {
  "tcp-established": "--tcp-established",
  "tcp-skip-in-flight": "--skip-in-flight",
  "ext-unix-sk": "--ext-unix-sk",
  "shell-job": "--shell-job",
  "file-locks": "--file-locks",
  "auto-dedup": "--auto-dedup",
  "lazy-pages": "--lazy-pages",
  "leave-running": "--leave-running",
  "link-remap": "--link-remap",
};

export interface Directories {
  image: string;
  /** Where logs go. */
  work: string;
}

export function directoriesOf({ values }: Parsed): Directories {
  const image = absolute(values.get("image-path") || "checkpoint");
  const work = values.get("work-path");
  return { image, work: work ? absolute(work) : image };
}

/** What both commands tell criu. */
export function sharedArguments(parsed: Parsed, directories: Directories, spec: Spec): string[] {
  const { values, switches, lists } = parsed;
  for (const namespace of lists.get("empty-ns") ?? []) {
    if (namespace !== "network") throw invalid(`namespace ${JSON.stringify(namespace)} is not supported`);
  }
  const mode = values.get("manage-cgroups-mode") || "soft";
  if (!["soft", "full", "strict", "ignore"].includes(mode))
    throw invalid("invalid manage-cgroups-mode value");
  return [
    ...["--images-dir", directories.image, "--work-dir", directories.work, "-v4"],
    `--manage-cgroups=${mode}`,
    // Network devices are the engine's, as with the original.
    ...["--empty-ns", "net"],
    ...Object.entries(SWITCHES).flatMap(([flag, name]) => (switches.has(flag) ? [name] : [])),
    ...configuration(spec.annotations ?? {}),
  ];
}

/** A container may bring settings for criu; an empty name is none at all. */
function configuration(annotations: Readonly<Record<string, string>>): string[] {
  const file = annotations["org.criu.config"] ?? "/etc/criu/runc.conf";
  return file !== "" && exists(file) ? ["--config", file] : [];
}

export function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}

/** Namespaces that the container has joined, not made. */
export function foreignNamespaces(spec: Spec): { namespace: Namespace; key: string; path: string }[] {
  return (spec.linux?.namespaces ?? []).flatMap((namespace) => {
    const { type, path } = namespace;
    if (!path || (type !== "network" && type !== "pid")) return [];
    return [{ namespace, path, key: type === "network" ? "extRootNetNS" : "extRootPidNS" }];
  });
}

/** `net[4026531840]:extRootNetNS`, for what is left alone by a checkpoint. */
export function externalNamespaces(spec: Spec): string[] {
  return foreignNamespaces(spec).flatMap(({ namespace, key, path }) => {
    const name = namespace.type === "network" ? "net" : "pid";
    return ["--external", `${name}[${stat(path).inode}]:${key}`];
  });
}

/** The same namespaces for a restore: descriptors from 3 on. */
export function inheritedNamespaces(spec: Spec): { args: string[]; fds: number[] } {
  const foreign = foreignNamespaces(spec);
  return {
    args: foreign.flatMap(({ key }, index) => ["--inherit-fd", `fd[${3 + index}]:${key}`]),
    fds: foreign.map(({ path }) => openFile(path, O_RDONLY | O_CLOEXEC)),
  };
}

/** Run criu to its end. @throws EngineError with what its log says */
export function runCriu(
  criu: string,
  {
    command,
    args,
    log: name,
    directories,
  }: { command: string; args: string[]; log: string; directories: Directories },
  fds: readonly number[] = [],
): void {
  const program = criu.includes("/") ? criu : Bun.which(criu);
  if (program === null || !exists(program)) {
    const words = `CRIU version check failed: exec: ${JSON.stringify(criu)}: executable file not found in $PATH`;
    throw new EngineError("unimplemented", words);
  }
  mkdirAll(directories.image, 0o700);
  mkdirAll(directories.work, 0o700);
  // Its streams are the restored process's own; what it has to say is in its log.
  const result = Bun.spawnSync([program, command, "--log-file", name, ...args], {
    stdio: ["inherit", "inherit", "inherit", ...fds],
  });
  if (result.success) return;
  const file = `${directories.work}/${name}`;
  const errors = (readTextIfExists(file) ?? "").split("\n").filter((line) => line.includes("Error"));
  for (const line of errors.slice(-5)) log("warning", `${file}: ${line}`);
  throw new EngineError(
    "internal",
    `criu failed: type ${command.toUpperCase()} exit status ${result.exitCode}; see ${file}`,
  );
}
