import { TaskDelete, TaskExit } from "@longshore/api/containerd/events/task";
import type { Envelope } from "@longshore/api/containerd/types/event";
import type { Exchange, ForwardOptions } from "../events/exchange.ts";
import { eventMessage } from "../plugin.ts";
import type { Bundle } from "./bundle.ts";
import { markTold, type ProcessExit } from "./exit-record.ts";

const EXIT_TOPIC = "/tasks/exit";
const DELETE_TOPIC = "/tasks/delete";

/** Exits remembered, so that whoever comes second with one is not heard again. */
const MAX_REMEMBERED = 10_000;

/**
 * Publishes each process's exit once, whoever tells of it first: the shim by its event, its answer to Wait, its record on disk, or its
 * own end.
 */
export class ExitReporter {
  readonly #exchange: Exchange;
  readonly #bundleOf: (namespace: string, containerId: string) => Bundle | undefined;
  readonly #reported = new Set<string>();

  constructor(exchange: Exchange, bundleOf: (namespace: string, containerId: string) => Bundle | undefined) {
    this.#exchange = exchange;
    this.#bundleOf = bundleOf;
  }

  /** An event from a shim; an exit that was reported already is dropped. */
  forward(envelope: Envelope, options: ForwardOptions): void {
    const exit = envelope.topic === EXIT_TOPIC ? decodeExit(envelope) : undefined;
    if (!exit) {
      this.#exchange.forward(envelope, options);
      return;
    }
    const { containerId, id, pid } = exit;
    const execId = id === containerId ? "" : id;
    if (!this.#isNews(envelope.namespace, containerId, execId, pid)) return;
    this.#exchange.forward(envelope, options);
    const bundle = this.#bundleOf(envelope.namespace, containerId);
    if (bundle) markTold(bundle.path, { execId, pid });
  }

  /** An exit learned otherwise. */
  report({ namespace, id, path }: Bundle, exit: ProcessExit, options: ForwardOptions = {}): void {
    if (!this.#isNews(namespace, id, exit.execId, exit.pid)) return;
    const { execId, ...fields } = exit;
    const event = eventMessage("TaskExit", TaskExit, { containerId: id, id: execId || id, ...fields });
    // Its time is that of the end, however late it is told.
    const { typeUrl, value } = event;
    const envelope = {
      timestamp: exit.exitedAt,
      namespace,
      topic: EXIT_TOPIC,
      event: { typeUrl, value: Buffer.from(value) },
    };
    this.#exchange.forward(envelope, options);
    markTold(path, exit);
  }

  /** The task is gone without the shim having told so. */
  reportDelete({ namespace, id }: Bundle, exit: ProcessExit, options: ForwardOptions = {}): void {
    const { pid, exitStatus, exitedAt } = exit;
    const fields = { containerId: id, id, pid, exitStatus, exitedAt };
    this.#exchange.publish(namespace, DELETE_TOPIC, eventMessage("TaskDelete", TaskDelete, fields), options);
  }

  #isNews(namespace: string, containerId: string, execId: string, pid: number): boolean {
    const key = `${namespace}/${containerId}/${execId}/${pid}`;
    if (this.#reported.has(key)) return false;
    this.#reported.add(key);
    if (this.#reported.size > MAX_REMEMBERED) {
      const [oldest = ""] = this.#reported;
      this.#reported.delete(oldest);
    }
    return true;
  }
}

function decodeExit({ event }: Envelope): TaskExit | undefined {
  if (!event) return undefined;
  try {
    return TaskExit.decode(event.value);
  } catch {
    return undefined; // not for us to judge; subscribers get what was sent
  }
}
