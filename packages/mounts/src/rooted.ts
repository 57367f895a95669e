import { Errno, isErrno } from "@longshore/errors";
import {
  CallError,
  type CallOptions,
  close,
  EAGAIN,
  fstatfs,
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
  RESOLVE_NO_SYMLINKS,
  type Slot,
} from "@longshore/syscalls";

/** How deep links may lead to links, as the kernel has it. */
const MAX_LINKS = 40;

/** What stands at the end of a path that is made. */
export type Kind = "directory" | "file";

/** Bytes of a `struct open_how`. */
const HOW_BYTES = 24;

const PROC_SUPER_MAGIC = 0x9fa0;

export interface OpenOptions extends CallOptions {
  /** O_* */
  flags?: number;
  /** More RESOLVE_* rules. */
  resolve?: number;
}

/** A link that leads to something in a procfs. */
export class LeadsIntoProc extends Error {
  override readonly name = "LeadsIntoProc";

  constructor(path: string) {
    super(`${JSON.stringify(path)} cannot be mounted because it is inside /proc`);
  }
}

/**
 * The container's root, seen by a child inside its mount namespace. Every path is resolved by the kernel with RESOLVE_IN_ROOT, so
 * neither `..` nor links, nor a rename at the wrong moment, lead out of it (CVE-2019-19921, CVE-2021-30465, CVE-2023-27561).
 */
export class Rooted {
  readonly hand: Hand;
  readonly root: Slot | number;

  constructor(hand: Hand, root: Slot | number) {
    this.hand = hand;
    this.root = root;
  }

  /** Queue an open of what a path in the container names. Without `flags` only to point at it. */
  open(path: string, { flags = O_PATH, resolve = 0, recover, ...options }: OpenOptions = {}): Slot {
    const { hand } = this;
    const slot: Slot = hand.call(
      "openat2",
      [this.root, hand.text(path), this.#how(flags, resolve), HOW_BYTES],
      {
        about: path,
        ...options,
        recover: (error) => {
          if (error.code === "EAGAIN") {
            hand.calls.settle(slot, this.openNow(path, flags, resolve));
            return 0;
          }
          if (!recover) throw error;
          return recover(error);
        },
      },
    );
    return slot;
  }

  #how(flags: number, resolve: number): number {
    const { arena } = this.hand.calls;
    const how = arena.room(HOW_BYTES);
    arena.put64(how, flags | O_CLOEXEC);
    arena.put64(how + 16, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve);
    return arena.base + how;
  }

  /** As {@link open}, at once. */
  openNow(path: string, flags = O_PATH, resolve = 0): number {
    const { hand } = this;
    // EAGAIN: a rename or mount somewhere on the machine raced with a `..`; the manual says to try again.
    for (let attempt = 0; ; attempt++) {
      const args = [this.root, hand.text(path), this.#how(flags, resolve), HOW_BYTES];
      const slot = hand.call("openat2", args, { skipOnError: 0 });
      hand.run();
      const fd = hand.result(slot);
      if (fd >= 0) return fd;
      if (fd !== -EAGAIN || attempt > 1000) {
        throw new CallError(-fd, "openat2", path, hand.calls.wording);
      }
    }
  }

  /**
   * As {@link open}; what is missing is made. Links are followed inside the root, but not onto a procfs, where a mount could make a
   * program believe what the image wants (CVE-2019-16884), and with `plain` not at all.
   */
  openOrMake(path: string, kind: Kind, { plain = false } = {}): Slot {
    // Below another mount it is seldom there: made at once, that spares asking. Links and deeper gaps are for `make`.
    const at = path.replace(/\/+$/, "").lastIndexOf("/");
    if (kind === "directory" && at > 0) {
      const parent = this.open(path.slice(0, at), {
        flags: O_PATH | O_DIRECTORY,
        resolve: RESOLVE_NO_SYMLINKS,
        skipOnError: 2,
      });
      this.hand.call("mkdirat", [parent, this.hand.text(path.slice(at + 1)), 0o755], { skipOnError: 0 });
      this.close(parent);
    }
    const slot: Slot = this.open(path, {
      flags: plain ? O_PATH | O_DIRECTORY : O_PATH,
      resolve: RESOLVE_NO_SYMLINKS,
      recover: (error) => {
        if (error.code === "ENOENT") {
          this.make(path, kind);
          return undefined;
        }
        if (error.code !== "ELOOP" || plain) throw error;
        this.hand.calls.settle(slot, this.#followed(path, kind));
        return 0;
      },
    });
    return slot;
  }

  /** A path in which there are links. */
  #followed(path: string, kind: Kind): number {
    let fd: number;
    try {
      fd = this.openNow(path);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      this.make(path, kind);
      fd = this.openNow(path);
    }
    // The table of descriptors is ours as well.
    if (fstatfs(fd).type === PROC_SUPER_MAGIC) throw new LeadsIntoProc(path);
    return fd;
  }

  close(fd: Slot | number): void {
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
    try {
      close(this.openNow(parts.join("/")));
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
        this.close(hand.call("openat", [parent, hand.text(name), flags, 0o644], { about: name }));
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
