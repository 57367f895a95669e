import type { Envelope } from "@longshore/api/containerd/types/event";
import type { Process } from "@longshore/api/containerd/types/task/task";
import { Status } from "@longshore/api/containerd/types/task/task";
import { errorCode } from "@longshore/errors";
import {
  type EventBus,
  eventFromAny,
  eventSubject,
  hostName,
  isTopic,
  now,
  type OutgoingEvent,
  outgoingEvent,
  parseTime,
  type Timestamp,
} from "@longshore/events";
import type { Logger } from "@longshore/log";
import type { ContainerdClient } from "../containerd/client.ts";
import { trimTime } from "../containerd/timestamp.ts";
import type { TaskExit } from "../containers/exit-container.ts";
import type { ProcessExit } from "../containers/watch-exits.ts";

/** How our containerd names what publishes its events. */
const NATS_PLUGIN = "io.longshore.events.v1";
const RETRY_MS = 250;
/** After so long, what happened while a subscription was being made shows in a list. */
const SETTLE_MS = 1000;
/** How long the stream is waited for when somebody asks for what it has kept. */
const KEPT_MS = 3000;
const MAX_REMEMBERED = 10_000;

export interface EventBridgeOptions {
  containerd: ContainerdClient;
  bus: EventBus;
  log: Logger;
}

/**
 * Takes the events of a containerd that doesn't speak to NATS, such as the original, there: all namespaces' events, with the subjects,
 * envelopes and ids that they have everywhere. It stands by while containerd publishes itself. Exits that it could not hear, because it or
 * containerd was away, it learns from the list of tasks, and publishes them unless the stream has them.
 */
export class EventBridge {
  /** Settles when tasks that ended before the start were seen: from then on they may be deleted. */
  readonly ready: Promise<void>;
  readonly #options: EventBridgeOptions;
  readonly #host = hostName();
  readonly #seen = new Set<string>();
  readonly #started = Promise.withResolvers<void>();
  #active = false;
  #catchingUp: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};
  #signal: AbortSignal = AbortSignal.abort();

  constructor(options: EventBridgeOptions) {
    this.#options = options;
    this.ready = this.#started.promise;
  }

  /** Work until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#wake(), { once: true });
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
      } catch (error) {
        if (!signal.aborted) this.#options.log.debug({ err: error }, "the bridge of events broke");
      }
      this.#started.resolve();
      if (!signal.aborted) await Bun.sleep(RETRY_MS);
    }
    this.#started.resolve();
    await this.#catchingUp;
  }

  /**
   * The exit of a container's init process that the stream has kept; undefined when it has none, or doesn't answer in time.
   * @param pid of the process, on the host: an earlier one's exit is another matter
   */
  async keptExit(containerId: string, pid: number): Promise<TaskExit | undefined> {
    const { bus, containerd } = this.#options;
    const place = { host: this.#host, namespace: containerd.namespace };
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(KEPT_MS)]);
    const last = await bus.last(eventSubject("/tasks/exit", containerId, place), signal);
    if (!last) return undefined;
    const { id, pid: ended, exit_status: exitCode, exited_at: exitedAt } = last.event;
    if (id !== containerId || ended !== pid || typeof exitCode !== "number") return undefined;
    return { pid, exitCode, exitedAt: trimTime(typeof exitedAt === "string" ? exitedAt : last.time) };
  }

  /** containerd was away: what is back may be another one. */
  containerdChanged(): void {
    this.#wake();
  }

  /** An exit that nobody told of. */
  exited({ containerId, execId, pid, exitCode, exitedAt }: ProcessExit): void {
    if (!this.#active) return;
    const { namespace } = this.#options.containerd;
    const fields = { containerId, id: execId || containerId, pid, exitStatus: exitCode };
    this.#publishExit(namespace, { ...fields, exitedAt: parseTime(exitedAt) });
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { containerd, log } = this.#options;
    if (await publishesItself(containerd, signal)) {
      this.#active = false;
      this.#started.resolve();
      const changed = Promise.withResolvers<void>();
      this.#wake = changed.resolve;
      if (!signal.aborted) await changed.promise;
      return;
    }
    if (!this.#active) log.info("containerd doesn't publish to NATS: its events go there from here");
    this.#active = true;
    const stream = containerd.events.subscribe({ filters: [] }, { signal })[Symbol.asyncIterator]();
    // The call is made with the first request for an event.
    let next = stream.next();
    next.catch(() => {}); // awaited below
    await this.#lookUp(signal);
    this.#started.resolve();
    const again = setTimeout(() => void this.#lookUp(signal).catch(() => {}), SETTLE_MS);
    try {
      for (let result = await next; !result.done; result = await next) {
        next = stream.next();
        next.catch(() => {});
        this.forward(result.value);
      }
    } finally {
      clearTimeout(again);
    }
  }

  /**
   * Take an event that came over any subscription: what one that was quicker to come back has heard and acted on, the list of tasks no
   * longer shows.
   */
  forward({ namespace, topic, timestamp, event }: Envelope): void {
    if (!this.#active || !isTopic(topic)) return;
    try {
      const { event: message } = eventFromAny(topic, event);
      const time = timestamp ?? now();
      const outgoing = this.#outgoing(namespace, topic, message, time);
      if (this.#isNews(outgoing.id)) this.#options.bus.publish(outgoing);
    } catch (error) {
      this.#options.log.warn({ topic, err: error }, "an event that isn't one");
    }
  }

  /** Exits that the state of all tasks tells of. */
  async #lookUp(signal: AbortSignal): Promise<void> {
    const { containerd } = this.#options;
    const { namespaces } = await containerd.namespaces.list({ filter: "" }, { signal });
    for (const { name } of namespaces) {
      const metadata = { "containerd-namespace": name };
      const { tasks } = await containerd.tasks.list({ filter: "" }, { metadata, signal });
      for (const task of tasks) this.#takeTask(name, task);
    }
  }

  #takeTask(namespace: string, { id, containerId, pid, status, exitStatus, exitedAt }: Process): void {
    if (status !== Status.STOPPED) return;
    const container = id || containerId;
    const exit = { containerId: container, id: container, pid, exitStatus, exitedAt: exitedAt ?? now() };
    this.#publishExit(namespace, exit);
  }

  #publishExit(
    namespace: string,
    exit: { containerId: string; id: string; pid: number; exitStatus: number; exitedAt: Timestamp },
  ): void {
    this.#publishMissed(this.#outgoing(namespace, "/tasks/exit", exit, exit.exitedAt));
  }

  /** An earlier daemon may have told of it, longer ago than the stream knows repeats. */
  #publishMissed(event: OutgoingEvent): void {
    if (!this.#isNews(event.id)) return;
    const { bus, log } = this.#options;
    this.#catchingUp = this.#catchingUp.then(async () => {
      const last = await bus.last(event.subject, this.#signal);
      if (last?.id === event.id || this.#signal.aborted) return;
      log.info({ event: event.id }, "an event that was missed");
      bus.publish(event);
    });
  }

  #outgoing(namespace: string, topic: string, message: object, time: Timestamp): OutgoingEvent {
    return outgoingEvent(topic, message, { host: this.#host, namespace, source: "containerd", time });
  }

  #isNews(id: string): boolean {
    if (this.#seen.has(id)) return false;
    this.#seen.add(id);
    if (this.#seen.size > MAX_REMEMBERED) {
      const [oldest = ""] = this.#seen;
      this.#seen.delete(oldest);
    }
    return true;
  }
}

async function publishesItself({ introspection }: ContainerdClient, signal: AbortSignal): Promise<boolean> {
  try {
    const { plugins } = await introspection.plugins({ filters: [`type==${NATS_PLUGIN}`] }, { signal });
    return plugins.some(({ type, initErr }) => type === NATS_PLUGIN && initErr === undefined);
  } catch (error) {
    if (errorCode(error) === "unimplemented") return false;
    throw error;
  }
}
