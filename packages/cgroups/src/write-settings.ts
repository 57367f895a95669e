import { EngineError, isErrno } from "@longshore/errors";
import {
  addressOf,
  check,
  close,
  errnoText,
  fixedBuffer,
  NR,
  O_CLOEXEC,
  O_WRONLY,
  openFile,
  readTextIfExists,
  syscall,
} from "@longshore/syscalls";
import type { Setting } from "./settings.ts";

/**
 * Writes control files. The last one stays open: device rules and throttles are many writes to the same file, and the kernel takes
 * each write(2) for itself.
 */
export class ControlFiles implements Disposable {
  #path = "";
  #fd = -1;

  /** @throws Errno of open(2) or write(2) */
  write(path: string, value: string): void {
    if (path !== this.#path) {
      this[Symbol.dispose]();
      this.#fd = openFile(path, O_WRONLY | O_CLOEXEC);
      this.#path = path;
    }
    const bytes = fixedBuffer(Math.max(1, Buffer.byteLength(value)));
    const length = bytes.write(value);
    check(syscall(NR.write, this.#fd, addressOf(bytes), length), "write", path);
    bytes.at(0);
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1;
    this.#path = "";
  }
}

/**
 * Carry out settings in their order.
 *
 * @param pathOf the directory in which a controller's files are
 * @throws EngineError in the original's words
 */
export function writeSettings(
  settings: readonly Setting[],
  pathOf: (controller: string) => string | undefined,
): void {
  using files = new ControlFiles();
  let postponed: Setting[] = [];
  let controller = "";
  const retry = () => {
    for (const setting of postponed) write(files, { ...setting, again: false }, pathOf);
    postponed = [];
  };
  for (const setting of settings) {
    if (setting.controller !== controller) retry();
    controller = setting.controller;
    if (!write(files, setting, pathOf)) postponed.push(setting);
  }
  retry();
}

/** @returns false when it is to be tried again */
function write(
  files: ControlFiles,
  setting: Setting,
  pathOf: (controller: string) => string | undefined,
): boolean {
  const { controller, value, otherwise, optional = false, again = false } = setting;
  const directory = pathOf(controller);
  if (directory === undefined) {
    if (optional) return true;
    throw new EngineError(
      "unimplemented",
      `cannot set ${controller} limit: container could not join or create cgroup`,
    );
  }
  const path = `${directory}/${setting.file}`;
  try {
    files.write(path, value);
  } catch (error) {
    const missing = isErrno(error, "ENOENT");
    if (missing && otherwise) {
      return write(files, { controller, optional, value, ...otherwise }, pathOf);
    }
    if (optional && (missing || isErrno(error, "EOPNOTSUPP"))) return true;
    if (again && isErrno(error, "EINVAL")) return false;
    if (setting.file === "memory.limit_in_bytes" && isErrno(error, "EBUSY")) {
      throw tooLittleMemory(directory, value, error);
    }
    throw writeError(path, value, error);
  }
  return true;
}

/** A failed write in the original's words; callers and their users match on them. */
export function writeError(path: string, value: string, error: unknown): EngineError {
  if (!(error instanceof Error && "errno" in error && "syscall" in error)) {
    return new EngineError("internal", String(error), { cause: error });
  }
  const text = errnoText(Math.abs(Number(error.errno)));
  const message =
    error.syscall === "open"
      ? `open ${path}: ${text}`
      : `failed to write ${JSON.stringify(value)}: write ${path}: ${text}`;
  return new EngineError(isErrno(error, "ENOENT") ? "not_found" : "internal", message, { cause: error });
}

function tooLittleMemory(directory: string, limit: string, cause: unknown): EngineError {
  const read = (file: string) => readTextIfExists(`${directory}/${file}`)?.trim() ?? "0";
  const usage = `current usage: ${read("memory.usage_in_bytes")}, peak usage: ${read("memory.max_usage_in_bytes")}`;
  return new EngineError("failed_precondition", `unable to set memory limit to ${limit} (${usage})`, {
    cause,
  });
}
