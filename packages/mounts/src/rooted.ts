import { Errno, isErrno } from "@longshore/errors";
import {
  type CallOptions,
  type Hand,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_WRONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  type Slot,
} from "@longshore/syscalls";

/** How deep links may lead to links, as the kernel has it. */
const MAX_LINKS = 40;

/** What stands at the end of a path that is made. */
export type Kind = "directory" | "file";

/**
 * The container's root, seen by a child inside its mount namespace. Every path is resolved by the kernel with RESOLVE_IN_ROOT, so
 * neither `..` nor links, nor a rename at the wrong moment, lead out of it (CVE-2019-19921, CVE-2021-30465, CVE-2023-27561).
 */
export class Rooted {
  readonly hand: Hand;
  readonly root: Slot;

  constructor(hand: Hand, root: Slot) {
    this.hand = hand;
    this.root = root;
  }

  /** Queue an open of what a path in the container names. Without `flags` only to point at it. */
  open(path: string, options: CallOptions & { flags?: number; resolve?: number } = {}): Slot {
    const { hand } = this;
    const arena = hand.calls.arena;
    const how = arena.room(24);
    arena.put64(how, (options.flags ?? O_PATH) | O_CLOEXEC);
    arena.bytes.writeBigUInt64LE(
      BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (options.resolve ?? 0)),
      how + 16,
    );
    return hand.call("openat2", [this.root, hand.text(path), arena.base + how, 24], {
      about: path,
      ...options,
    });
  }

  /** As {@link open}; what is missing is made. `resolve`: more RESOLVE_* rules. */
  openOrMake(path: string, kind: Kind, resolve = 0): Slot {
    // Below another mount it is seldom there: made at once, that spares asking. Links and deeper gaps are for `make`.
    const at = path.replace(/\/+$/, "").lastIndexOf("/");
    if (kind === "directory" && at > 0) {
      const parent = this.open(path.slice(0, at), { flags: O_PATH | O_DIRECTORY, skipOnError: 2 });
      this.hand.call("mkdirat", [parent, this.hand.text(path.slice(at + 1)), 0o755], { skipOnError: 0 });
      this.close(parent);
    }
    return this.open(path, {
      resolve,
      recover: (error) => {
        if (error.code !== "ENOENT") throw error;
        this.make(path, kind);
        return undefined;
      },
    });
  }

  close(fd: Slot): void {
    this.hand.call("close", [fd]);
  }

  /** Make the missing parts of a path, now. Links that lead to nothing are followed inside the root, their ends made. */
  make(path: string, kind: Kind): void {
    const wanted = path.split("/").filter((part) => part !== "" && part !== ".");
    let links = 0;
    let done: string[] = [];
    while (wanted.length > 0) {
      const part = wanted.shift() ?? "";
      if (part === "..") {
        done.pop();
        continue;
      }
      const last = wanted.length === 0;
      if (this.#there([...done, part])) {
        done.push(part);
        continue;
      }
      const target = this.#makeOne(done, part, last ? kind : "directory");
      if (target === undefined) {
        done.push(part);
        continue;
      }
      if (++links > MAX_LINKS) throw new Errno("ELOOP", 40, "mkdir", path);
      if (target.startsWith("/")) done = [];
      wanted.unshift(...target.split("/").filter((next) => next !== "" && next !== "."));
    }
  }

  #there(parts: readonly string[]): boolean {
    const fd = this.open(parts.join("/"));
    try {
      this.close(fd);
      this.hand.run();
      return true;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return false;
      throw error;
    }
  }

  /** Make one part in an existing directory; a dangling link in its place is not followed, but its target returned. */
  #makeOne(parents: readonly string[], name: string, kind: Kind): string | undefined {
    const { hand } = this;
    const parent = this.open(parents.join("/") || "/", { flags: O_PATH | O_DIRECTORY });
    try {
      if (kind === "directory") {
        hand.call("mkdirat", [parent, hand.text(name), 0o755], { about: name });
      } else {
        const flags = O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC;
        this.close(hand.call("openat", [parent, hand.text(name), flags, 0o755], { about: name }));
      }
      this.close(parent);
      hand.run();
      return undefined;
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    const buffer = hand.calls.arena.room(4096);
    const length = hand.call(
      "readlinkat",
      [parent, hand.text(name), hand.calls.arena.base + buffer, 4095],
      // Not a link: somebody made it in the meantime.
      { about: name, skipOnError: 0 },
    );
    this.close(parent);
    hand.run();
    const bytes = hand.result(length);
    return bytes < 0 ? undefined : hand.calls.arena.bytes.toString("utf8", buffer, buffer + bytes);
  }
}
