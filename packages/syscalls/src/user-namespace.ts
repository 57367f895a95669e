import { CLONE_NEWNET, CLONE_NEWUSER, O_CLOEXEC, O_RDONLY } from "./constants.ts";
import { close, openFile, writeControl } from "./files.ts";
import { Hand } from "./hand.ts";

/** A line of a uid_map or gid_map (user_namespaces(7)). */
export interface MappedIds {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** Few calls: these hands only are there for their namespaces. */
const FEW_CALLS = 8;

/** A user namespace with nobody in it, which its descriptor keeps; the caller closes it. */
export function makeUserNamespace(uids: readonly MappedIds[], gids: readonly MappedIds[]): number {
  using hand = new Hand({ flags: CLONE_NEWUSER, maxCalls: FEW_CALLS });
  const fd = openFile(`/proc/${hand.pid}/ns/user`, O_RDONLY | O_CLOEXEC);
  try {
    for (const [file, lines] of [
      ["uid_map", uids],
      ["gid_map", gids],
    ] as const) {
      const text = lines.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`);
      writeControl(`/proc/${hand.pid}/${file}`, text.join(""));
    }
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** A network namespace that belongs to a user namespace: the root of that has all rights over it. The caller closes it. */
export function makeNetworkNamespaceOf(userNamespace: number): number {
  const enter = [{ fd: userNamespace, flag: CLONE_NEWUSER, about: "user namespace" }];
  using hand = new Hand({ flags: CLONE_NEWNET, enter, maxCalls: FEW_CALLS });
  return openFile(`/proc/${hand.pid}/ns/net`, O_RDONLY | O_CLOEXEC);
}
