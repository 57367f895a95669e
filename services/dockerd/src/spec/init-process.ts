import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import type { Mount } from "@longshore/oci";
import type { HostConfig } from "../containers/container-config.ts";

/** Where the container sees it. */
const IN_CONTAINER = "/sbin/docker-init";
/** What is looked for on PATH; a program linked to libraries would miss them in the container. */
const NAMES = ["docker-init", "tini-static"];

/** What of the daemon's settings is about init processes. */
interface InitSettings {
  /** For containers that don't say. */
  init: boolean;
  initPath: string | undefined;
}

/** Whether a process of ours is the container's first, to pass signals on and reap orphans. */
export function wantsInit(host: HostConfig, { init }: InitSettings): boolean {
  // With the host's pids it wouldn't be the first, and nothing is asked for.
  return host.Init ?? (init && host.PidMode === "");
}

/**
 * The init program on this machine.
 * @throws EngineError `invalid_argument` when there is none
 */
export function findInit({ initPath }: InitSettings, searchPath = process.env.PATH ?? ""): string {
  const candidates =
    initPath === undefined
      ? NAMES.flatMap((name) => searchPath.split(":").map((directory) => path.join(directory, name)))
      : [initPath];
  const found = candidates.find(isProgram);
  if (found !== undefined) return fs.realpathSync(found);
  throw new EngineError(
    "invalid_argument",
    initPath === undefined
      ? `HostConfig.Init: no init program is installed: neither ${NAMES.join(" nor ")} is on PATH (Debian has them in the package tini)`
      : `HostConfig.Init: the init program ${initPath} (init-path) is not there`,
  );
}

/** @throws EngineError `invalid_argument` for an init process that can't be */
export function checkInit(host: HostConfig, settings: InitSettings): void {
  if (!wantsInit(host, settings)) return;
  if (host.PidMode !== "") {
    throw new EngineError("invalid_argument", "HostConfig.Init needs a pid namespace of the container's own");
  }
  findInit(settings);
}

/** The command of a container with an init process, and the mount that brings the program in. */
export function withInit(args: readonly string[], program: string): { args: string[]; mount: Mount } {
  return {
    args: [IN_CONTAINER, "--", ...args],
    mount: { destination: IN_CONTAINER, type: "bind", source: program, options: ["bind", "ro", "rprivate"] },
  };
}

function isProgram(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false; // not there, or nothing to run
  }
}
