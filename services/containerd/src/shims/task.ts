import type { Bundle } from "./bundle.ts";
import type { ProcessExit } from "./exit-record.ts";
import type { ShimClient, TaskClient } from "./shim-client.ts";

export type TaskParts = Pick<Task, "bundle" | "binary" | "address" | "client" | "log">;

/** A container's task: its bundle and the shim that serves it. */
export class Task {
  readonly bundle: Bundle;
  readonly binary: string;
  /** Of the shim's socket; containers of one group share a shim. */
  readonly address: string;
  readonly client: ShimClient;
  readonly log: Disposable;
  /** Of the init process; 0 until it is known. */
  pid = 0;
  shimPid = 0;
  /** We end the connection ourselves: its end says nothing of the shim. */
  leaving = false;
  /** Set when the shim was lost; settles with the container's exit when everything of it was cleaned up. */
  lost: Promise<ProcessExit> | undefined;

  constructor({ bundle, binary, address, client, log }: TaskParts) {
    this.bundle = bundle;
    // Asked for while the bundle is there.
    void bundle.eventQueue;
    this.binary = binary;
    this.address = address;
    this.client = client;
    this.log = log;
  }

  get id(): string {
    return this.bundle.id;
  }

  /** The shim's task service. */
  get shim(): TaskClient {
    return this.client.task;
  }

  /** End the connection; the shim goes on. */
  leave(): void {
    this.leaving = true;
    this.client.close();
    this.log[Symbol.dispose]();
  }
}
