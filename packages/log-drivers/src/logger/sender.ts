import type { LogLine } from "./line-splitter.ts";

/** Takes a container's messages to where they are kept. */
export interface Sender {
  /** Resolves when there is room for the next one. @throws when the message is lost */
  send(line: LogLine): Promise<void>;
  /** Hand on what is still here. */
  close(): Promise<void>;
}
