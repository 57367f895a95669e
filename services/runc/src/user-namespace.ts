import { EngineError } from "@longshore/errors";
import { type AttributeOptions, type Attributes, setAttributes } from "@longshore/mounts";
import type { IdMapping } from "@longshore/oci";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  CLONE_NEWNS,
  CLONE_NEWUSER,
  Hand,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  openFile,
  RESOLVE_NO_SYMLINKS,
  readText,
  type Wording,
  writeControl,
} from "@longshore/syscalls";
import { isRootless } from "./rootless.ts";

/** The lines of a uid_map or gid_map (user_namespaces(7)). */
export function mapText(mappings: readonly IdMapping[]): string {
  return mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join("");
}

/** The mappings in a uid_map or gid_map. */
export function parseMap(text: string): IdMapping[] {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [containerID = 0, hostID = 0, size = 0] = line.trim().split(/\s+/).map(Number);
      return { containerID, hostID, size };
    });
}

/** Give a process's new user namespace its mappings, in the one write that the kernel allows for each. */
export function writeMappings(
  pid: number,
  { uidMappings, gidMappings }: { uidMappings: readonly IdMapping[]; gidMappings: readonly IdMapping[] },
): void {
  const rootless = isRootless();
  for (const [file, mappings] of [
    ["uid_map", uidMappings],
    ["gid_map", gidMappings],
  ] as const) {
    if (mappings.length === 0) continue;
    try {
      if (rootless && needsHelper(mappings)) {
        mapByHelper(file === "uid_map" ? "newuidmap" : "newgidmap", pid, mappings);
        continue;
      }
      // Without a right to it, a user may map a group only for a process that can't leave groups.
      if (rootless && file === "gid_map") writeControl(`/proc/${pid}/setgroups`, "deny");
      writeControl(`/proc/${pid}/${file}`, mapText(mappings));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new EngineError("invalid_argument", `failed to write ${file}: ${why}`, { cause: error });
    }
  }
}

/**
 * A second child, in the container's mount namespace but with the host's rights: root of a user namespace often can't reach
 * the paths that the container is made from. What it opens, the container's first process has too.
 */
export class Porter implements Disposable {
  readonly #hand: Hand;

  constructor(mountNamespaceFd: number) {
    this.#hand = new Hand({ flags: 0 });
    this.#hand.call("setns", [mountNamespaceFd, CLONE_NEWNS], { about: "mount namespace" });
  }

  /** What the following is for, in the words of an error. */
  set wording(wording: Wording | undefined) {
    this.#hand.calls.wording = wording;
  }

  /** A detached copy of a mount, with all below when `recursive`. */
  tree(path: string, recursive: boolean): number {
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
    return this.#one("open_tree", [AT_FDCWD, this.#hand.text(path), flags], path);
  }

  /** The container's root: a point to attach to and a copy of what is there. Links in its path are refused. */
  root(path: string): { point: number; copy: number } {
    const { arena } = this.#hand.calls;
    const how = arena.room(24);
    arena.put64(how, O_PATH | O_DIRECTORY | O_CLOEXEC);
    arena.put64(how + 16, RESOLVE_NO_SYMLINKS);
    const point = this.#one("openat2", [AT_FDCWD, this.#hand.text(path), arena.base + how, 24], path);
    const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH;
    return { point, copy: this.#one("open_tree", [point, this.#hand.text(""), flags], path) };
  }

  /** Change the attributes of a mount that {@link tree} has given. */
  setAttributes(mount: number, attributes: Attributes, options: AttributeOptions): void {
    setAttributes(this.#hand, mount, attributes, options);
    this.#hand.run();
  }

  #one(name: "open_tree" | "openat2", args: number[], about: string): number {
    const slot = this.#hand.call(name, args, { about });
    this.#hand.run();
    return this.#hand.result(slot);
  }

  [Symbol.dispose](): void {
    this.#hand[Symbol.dispose]();
  }
}

/** A user alone may map one id, his own. */
function needsHelper(mappings: readonly IdMapping[]): boolean {
  return mappings.length > 1 || (mappings[0]?.size ?? 0) > 1;
}

/** Map ids that /etc/subuid or /etc/subgid gives to the user (newuidmap(1)). */
function mapByHelper(helper: string, pid: number, mappings: readonly IdMapping[]): void {
  const numbers = mappings.flatMap(({ containerID, hostID, size }) => [containerID, hostID, size]);
  const { success, stderr } = Bun.spawnSync([helper, String(pid), ...numbers.map(String)]);
  if (!success) throw new Error(`${helper}: ${stderr.toString().trim()}`);
}

/** A user namespace that only says how ids are mapped, for id-mapped mounts; a descriptor. */
export function mappingNamespace(
  uidMappings: readonly IdMapping[],
  gidMappings: readonly IdMapping[],
): number {
  using hand = new Hand({ flags: CLONE_NEWUSER });
  writeMappings(hand.pid, { uidMappings, gidMappings });
  return openFile(`/proc/${hand.pid}/ns/user`, O_RDONLY | O_CLOEXEC);
}

/** The mappings of a user namespace that somebody else has made. */
export function mappingsOf(fd: number): { uidMappings: IdMapping[]; gidMappings: IdMapping[] } {
  using hand = new Hand({ flags: 0, enter: [{ fd, flag: CLONE_NEWUSER, about: "user namespace" }] });
  return {
    uidMappings: parseMap(readText(`/proc/${hand.pid}/uid_map`)),
    gidMappings: parseMap(readText(`/proc/${hand.pid}/gid_map`)),
  };
}
