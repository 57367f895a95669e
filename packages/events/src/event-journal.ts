import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { isErrno } from "@longshore/errors";
import type { OutgoingEvent } from "./envelope.ts";

const datasync = promisify(fs.fdatasync);

export interface EventJournalOptions {
  /** Must exist; the files in it are `journal` and `journal.old`. */
  directory: string;
  /** Of both files together. */
  limitBytes: number;
  /** An event was not written down, or not to the disk. */
  onTrouble: (error: unknown) => void;
}

/**
 * The newest events, written down before they are sent: what the stream is compared with when its server may have lost some. On disk a
 * moment after `append`, without anyone having waited.
 */
export class EventJournal implements AsyncDisposable {
  readonly #options: EventJournalOptions;
  #fd: number;
  /** Of files that are full, with events that may not be on the disk yet. */
  #retired: number[] = [];
  #size: number;
  #syncing: Promise<void> | undefined;
  #unsynced = false;

  constructor(options: EventJournalOptions) {
    this.#options = options;
    this.#fd = fs.openSync(this.#current, "a", 0o600);
    this.#size = fs.fstatSync(this.#fd).size;
    if (this.#size > 0) this.#write("\n"); // a line that a crash tore ends here
  }

  append(event: OutgoingEvent): void {
    try {
      if (this.#size > this.#options.limitBytes / 2) this.#rotate();
      this.#write(`${JSON.stringify(event)}\n`);
      this.#unsynced = true;
      this.#syncing ??= this.#sync();
    } catch (error) {
      this.#options.onTrouble(error);
    }
  }

  /** All that it holds, oldest first. */
  read(): OutgoingEvent[] {
    return [this.#old, this.#current].flatMap((file) => linesOf(file).flatMap(parse));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#syncing;
    for (const fd of [...this.#retired, this.#fd]) fs.closeSync(fd);
  }

  get #current(): string {
    return path.join(this.#options.directory, "journal");
  }

  get #old(): string {
    return `${this.#current}.old`;
  }

  #write(text: string): void {
    const bytes = Buffer.from(text);
    const written = fs.writeSync(this.#fd, bytes);
    this.#size += written;
    if (written < bytes.length) throw new Error(`${this.#current}: no room for an event`);
  }

  #rotate(): void {
    fs.renameSync(this.#current, this.#old);
    const fd = fs.openSync(this.#current, "a", 0o600);
    this.#retired.push(this.#fd);
    this.#fd = fd;
    this.#size = 0;
  }

  /** Many events in one go to the disk: those that come while it is busy wait for the next. */
  async #sync(): Promise<void> {
    while (this.#unsynced) {
      this.#unsynced = false;
      const retired = this.#retired;
      this.#retired = [];
      for (const fd of [...retired, this.#fd]) await datasync(fd).catch(this.#options.onTrouble);
      for (const fd of retired) fs.closeSync(fd);
    }
    this.#syncing = undefined;
  }
}

function linesOf(file: string): string[] {
  try {
    return fs.readFileSync(file, "utf8").split("\n").filter(Boolean);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}

function parse(line: string): OutgoingEvent[] {
  try {
    return [JSON.parse(line) as OutgoingEvent];
  } catch {
    return []; // torn by a crash
  }
}
