import fs from "node:fs";
import { EngineError } from "@longshore/errors";
import type { Namespace } from "@longshore/oci";
import type { Container } from "./container.ts";
import type { CreateRequest, HostConfig } from "./container-config.ts";
import type { ContainerIndex } from "./container-index.ts";
import { hasProcess } from "./container-status.ts";

const JOINED = "container:";

/** The modes whose namespace may be another container's. */
type JoinableMode = "IpcMode" | "PidMode" | "NetworkMode";

const MODES = [
  {
    field: "IpcMode",
    values: ["", "none", "private", "shareable", "host"],
    joins: true,
    told: "invalid IPC mode",
  },
  { field: "PidMode", values: ["", "host"], joins: true, told: "invalid PID mode" },
  { field: "UTSMode", values: ["", "host"], joins: false, told: "invalid UTS mode" },
  {
    field: "CgroupnsMode",
    values: ["", "private", "host"],
    joins: false,
    told: "invalid cgroup namespace mode",
  },
  { field: "UsernsMode", values: ["", "host"], joins: false, told: "invalid user namespace mode" },
] as const;

/**
 * Check a new container's namespace modes; another container in them is named by its id afterwards.
 * @throws EngineError `invalid_argument` in Docker's words, `not_found` for the other container
 */
export function checkModes(
  containers: ContainerIndex,
  { Hostname, HostConfig: host }: CreateRequest,
): Pick<HostConfig, JoinableMode> {
  for (const { field, values, joins, told } of MODES) {
    const mode = host[field];
    const isOther = joins && mode.startsWith(JOINED) && mode !== JOINED;
    if (!isOther && !(values as readonly string[]).includes(mode)) {
      throw new EngineError("invalid_argument", `${told}: ${mode}`);
    }
  }
  if (host.UTSMode === "host" && Hostname !== "") {
    throw new EngineError("invalid_argument", "conflicting options: hostname and the UTS mode");
  }
  const { IpcMode, PidMode, NetworkMode } = host;
  return {
    IpcMode: withId(containers, IpcMode),
    PidMode: withId(containers, PidMode),
    NetworkMode: withId(containers, NetworkMode),
  };
}

function withId(containers: ContainerIndex, mode: string): string {
  return mode.startsWith(JOINED) ? `${JOINED}${containers.findNamed(mode.slice(JOINED.length)).id}` : mode;
}

/** Where a starting container finds namespaces of others, and the /dev/shm that belongs to one. */
export interface JoinedNamespaces {
  pid: string | undefined;
  ipc: string | undefined;
  /** Id of the container whose /dev/shm it is; undefined without. */
  shmOf: string | undefined;
}

/** @throws EngineError `conflict` in Docker's words for a container that doesn't run or doesn't share, `not_found` for none */
export function joinNamespaces(containers: ContainerIndex, host: HostConfig): JoinedNamespaces {
  const donor = joined(containers, host.IpcMode, "IPC");
  if (donor && donor.record.hostConfig.IpcMode !== "shareable") {
    throw new EngineError(
      "conflict",
      `can't join IPC of container ${donor.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
    );
  }
  return {
    pid: namespacePath(joined(containers, host.PidMode, "PID"), "pid"),
    ipc: namespacePath(donor, "ipc"),
    shmOf: donor?.id,
  };
}

function joined(containers: ContainerIndex, mode: string, what: string): Container | undefined {
  if (!mode.startsWith(JOINED)) return undefined;
  const other = containers.find(mode.slice(JOINED.length));
  const { status } = other.record.state;
  if (status === "restarting") {
    throw new EngineError(
      "conflict",
      `Container ${other.id} is restarting, wait until the container is running`,
    );
  }
  if (!hasProcess(status)) {
    throw new EngineError(
      "conflict",
      `cannot join ${what} namespace of a non running container: ${other.id}`,
    );
  }
  return other;
}

function namespacePath(container: Container | undefined, name: string): string | undefined {
  if (!container) return undefined;
  const file = `/proc/${container.record.state.pid}/ns/${name}`;
  if (fs.existsSync(file)) return file;
  throw new EngineError("conflict", `container ${container.id} is not running`);
}

/** A container's own namespaces, those that it joins, and none for those of the host. */
export function namespacesOf(
  host: HostConfig,
  {
    netns,
    pid,
    ipc,
    user,
  }: Omit<JoinedNamespaces, "shmOf"> & { netns: string | undefined; user: string | undefined },
): Namespace[] {
  const own: Namespace[] = [{ type: "mount" }];
  if (user !== undefined) own.push({ type: "user", path: user });
  if (netns !== undefined) own.push({ type: "network", path: netns });
  if (host.UTSMode !== "host") own.push({ type: "uts" });
  if (host.PidMode !== "host") own.push(pid === undefined ? { type: "pid" } : { type: "pid", path: pid });
  if (host.IpcMode !== "host") own.push(ipc === undefined ? { type: "ipc" } : { type: "ipc", path: ipc });
  if (host.CgroupnsMode !== "host") own.push({ type: "cgroup" });
  return own;
}
