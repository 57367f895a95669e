import fs from "node:fs";
import path from "node:path";
import { isErrno } from "@longshore/errors";
import type { EventPublisher, OutgoingEvent } from "@longshore/events/publisher";
import { ensureDirectory } from "@longshore/syscalls";

/** Between namespace and queue in a file's name; neither may hold it. */
const SEPARATOR = "!";

/**
 * Where our shims' events wait while NATS is away: a file for each shim (its queue is the container's id, or names the group), in the daemon's root, because the bundle is removed with the
 * task. What a shim leaves in it at its end the daemon sends.
 */
export class ShimOutbox {
  readonly #directory: string;
  /** Set while NATS is configured. */
  publisher: EventPublisher | undefined;

  constructor(directory: string) {
    this.#directory = directory;
    ensureDirectory(directory, 0o700);
  }

  fileOf(namespace: string, queue: string): string {
    return path.join(this.#directory, `${namespace}${SEPARATOR}${queue}`);
  }

  /** Send what a shim left; it must have ended. */
  adopt(namespace: string, queue: string): void {
    const file = this.fileOf(namespace, queue);
    if (!fs.existsSync(file)) return;
    const lines = readLines(file);
    for (const line of lines) {
      const event = parse(line);
      if (event) this.publisher?.publish(event);
    }
    fs.rmSync(file, { force: true });
  }

  /** Send what shims left that ended while the daemon was away. */
  adoptStrays(isServed: (namespace: string, queue: string) => boolean): void {
    for (const name of fs.readdirSync(this.#directory)) {
      const [namespace = "", queue = ""] = name.split(SEPARATOR);
      if (!isServed(namespace, queue)) this.adopt(namespace, queue);
    }
  }
}

function readLines(file: string): string[] {
  try {
    return fs.readFileSync(file, "utf8").split("\n").filter(Boolean);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

function parse(line: string): OutgoingEvent | undefined {
  try {
    return JSON.parse(line) as OutgoingEvent;
  } catch {
    return undefined; // torn by the end of its writer
  }
}
