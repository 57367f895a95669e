import fs from "node:fs";
import { EngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import type { IdMapping } from "@longshore/oci";
import {
  AT_FDCWD,
  makeUserNamespace,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  openTree,
} from "@longshore/syscalls";
import type { HostConfig } from "../containers/container-config.ts";
import { showOwners } from "../volumes/mapped-owners.ts";
import { findRemap, makeDefaultUser, type Remap, readUserDatabase } from "./remap.ts";

/** A container's user namespace, for its start. */
export interface UserNamespace extends Disposable {
  readonly fd: number;
  /** Good for other processes, as long as this one has it open. */
  readonly path: string;
}

/**
 * User namespaces of containers whose ids are others on the host (`userns-remap`). Files of images, containers and volumes have the
 * container's ids on disk, and are shown with the host's while it runs.
 */
export class UserNamespaces implements Disposable {
  readonly remap: Remap;
  /** By which mounts show files with the host's ids. It maps the host's root as well, who makes what overlayfs and `docker cp` need. */
  readonly shown: UserNamespace;

  constructor(remap: Remap) {
    this.remap = remap;
    this.shown = open(withHostRoot(remap.uidMappings), withHostRoot(remap.gidMappings));
  }

  /** The host's ids of containers' root. */
  get root(): { uid: number; gid: number } {
    const [uids, gids] = [this.remap.uidMappings[0], this.remap.gidMappings[0]];
    return { uid: uids?.hostID ?? 0, gid: gids?.hostID ?? 0 };
  }

  /** A new one, for one container. */
  make(): UserNamespace {
    return open(this.remap.uidMappings, this.remap.gidMappings);
  }

  [Symbol.dispose](): void {
    this.shown[Symbol.dispose]();
  }
}

/**
 * @param dataRoot a directory whose file system must be able to show other owners
 * @throws EngineError `invalid_argument` in Docker's words for users that aren't there, `failed_precondition` for a file system that can't
 */
export function openUserNamespaces(
  wanted: string,
  { dataRoot, log }: { dataRoot: string; log: Logger },
): UserNamespaces | undefined {
  if (wanted === "") return undefined;
  if (wanted === "default") makeDefaultUser(readUserDatabase);
  const remap = findRemap(wanted, readUserDatabase());
  if (!remap) {
    log.warn("User namespaces: root cannot be remapped with itself; user namespaces are OFF");
    return undefined;
  }
  const { user, group } = remap;
  log.info({ user, group }, "User namespaces: ID ranges will be mapped to subuid/subgid ranges");
  const namespaces = new UserNamespaces(remap);
  const tree = openTree(AT_FDCWD, dataRoot, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  try {
    showOwners(tree, namespaces.shown, dataRoot);
  } finally {
    fs.closeSync(tree);
  }
  return namespaces;
}

/** Whether a container's ids are others on the host. */
export function isRemapped(
  userns: UserNamespaces | undefined,
  { UsernsMode }: Pick<HostConfig, "UsernsMode">,
): userns is UserNamespaces {
  return userns !== undefined && UsernsMode !== "host";
}

/** @throws EngineError `invalid_argument` in Docker's words for what doesn't go with ids of its own */
export function checkRemapped(userns: UserNamespaces | undefined, host: HostConfig): void {
  if (!isRemapped(userns, host)) return;
  const refuse = (words: string): never => {
    throw new EngineError("invalid_argument", words);
  };
  if (host.Privileged)
    refuse(
      "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
    );
  if (host.NetworkMode === "host")
    refuse("cannot share the host's network namespace when user namespaces are enabled");
  if (host.PidMode === "host") refuse("cannot share the host PID namespace when user namespaces are enabled");
}

/** The number of a file that belongs to the host's root, for which no container has a name. */
function withHostRoot(mappings: readonly IdMapping[]): IdMapping[] {
  const free = mappings.reduce((next, { containerID, size }) => Math.max(next, containerID + size), 0);
  return [...mappings, { containerID: free, hostID: 0, size: 1 }];
}

function open(uids: readonly IdMapping[], gids: readonly IdMapping[]): UserNamespace {
  const fd = makeUserNamespace(uids, gids);
  const path = `/proc/${process.pid}/fd/${fd}`;
  return { fd, path, [Symbol.dispose]: () => fs.closeSync(fd) };
}
