import { EngineError } from "@longshore/errors";
import { exists, readText } from "@longshore/syscalls";
import { DiskQueue } from "./disk-queue.ts";
import { type OutgoingEvent, STREAM, STREAM_SUBJECTS } from "./envelope.ts";
import { type NatsAddress, parseNatsUrl } from "./nats-url.ts";

export {
  type EventEnvelope,
  type EventOrigin,
  eventSubject,
  hostName,
  type OutgoingEvent,
  outgoingEvent,
} from "./envelope.ts";
export { formatTime, now, parseTime, type Timestamp } from "./event-json.ts";
export { TASK_TOPICS, type TaskTopic } from "./task-topics.ts";

export interface PublisherOptions {
  /** `nats://host:port`. */
  url: string;
  /** Read at each connect. */
  tokenFile?: string | undefined;
  /** Where events wait while NATS is away. */
  queueFile: string;
  queueLimitBytes?: number;
  /** Close the connection after so long without an event. */
  idleMs?: number;
  /** Told once for each time that NATS goes away, and of each event that finds no room. */
  onTrouble?: (error: Error) => void;
}

const ACK_TIMEOUT_MS = 5000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 30_000;

/**
 * Publishes to JetStream with nothing but a socket: for the shim, where the nats library would cost more memory than
 * everything else. One event at a time, in order, each acknowledged by the stream; connects for the first event and
 * hangs up when idle. While NATS is away events go to a file and are sent, in order, when it is back.
 */
export class EventPublisher {
  readonly #options: PublisherOptions;
  readonly #address: NatsAddress;
  readonly #waiting: OutgoingEvent[] = [];
  #queue: DiskQueue | undefined;
  #link: NatsLink | undefined;
  #retryMs = FIRST_RETRY_MS;
  #retry: Timer | undefined;
  #idle: Timer | undefined;
  #running: Promise<void> | undefined;
  #closed = false;
  #away = false;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#address = parseNatsUrl(options.url);
    // What an earlier process left.
    if (exists(options.queueFile)) this.#kick();
  }

  /** Whether all events so far were delivered or are on their way; false while NATS is away. */
  get isHealthy(): boolean {
    return !this.#away;
  }

  /** Whether nothing waits to be delivered. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && !this.#running && (this.#queue?.isEmpty ?? true);
  }

  /** Hand an event over. Never fails and never waits. */
  publish(event: OutgoingEvent): void {
    if (this.#away) {
      this.#spill(event);
      return;
    }
    this.#waiting.push(event);
    this.#kick();
  }

  /** Wait until everything was delivered, but not longer than this; true when it was. */
  async flush(timeoutMs: number): Promise<boolean> {
    const end = performance.now() + timeoutMs;
    this.#retryNow();
    while (!this.isIdle && performance.now() < end) {
      await Promise.race([this.#running ?? Bun.sleep(20), Bun.sleep(end - performance.now())]);
    }
    return this.isIdle;
  }

  /** Hang up. What was not delivered stays in the queue file. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#idle);
    this.#link?.close();
    for (const event of this.#waiting.splice(0)) this.#spill(event);
  }

  #retryNow(): void {
    if (!this.#retry) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#kick();
  }

  #kick(): void {
    if (this.#running || this.#retry || this.#closed) return;
    clearTimeout(this.#idle);
    this.#running = this.#deliverAll().then(
      () => this.#rest(),
      (error: unknown) => this.#fail(error instanceof Error ? error : new Error(String(error))),
    );
  }

  /** First the file, which is older, then what waits in memory. */
  async #deliverAll(): Promise<void> {
    this.#link ??= await NatsLink.connect(this.#address, this.#options.tokenFile);
    const queue = exists(this.#options.queueFile) ? this.#openQueue() : undefined;
    while (queue && !this.#closed && !queue.isEmpty) {
      const { events, bytes } = queue.peek();
      for (const event of events) await this.#link.publish(event);
      queue.drop(bytes);
    }
    this.#away = false;
    this.#retryMs = FIRST_RETRY_MS;
    for (let event = this.#waiting[0]; event && !this.#closed; event = this.#waiting[0]) {
      await this.#link.publish(event);
      this.#waiting.shift();
    }
  }

  #rest(): void {
    this.#running = undefined;
    if (this.#closed) return;
    if (!this.isIdle) {
      this.#kick();
      return;
    }
    this.#idle = setTimeout(() => this.#hangUp(), this.#options.idleMs ?? 1000);
  }

  #hangUp(): void {
    this.#link?.close();
    this.#link = undefined;
  }

  #fail(error: Error): void {
    this.#running = undefined;
    this.#hangUp();
    for (const event of this.#waiting.splice(0)) this.#spill(event);
    if (this.#closed) return;
    if (!this.#away) this.#options.onTrouble?.(error);
    this.#away = true;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#kick();
    }, this.#retryMs);
    // Waiting for NATS does not keep a shim alive that has nothing else to do.
    this.#retry.unref();
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }

  #spill(event: OutgoingEvent): void {
    try {
      if (this.#openQueue().push(event)) return;
      this.#options.onTrouble?.(new Error(`no room in ${this.#options.queueFile} for ${event.id}`));
    } catch (error) {
      // The bundle is gone or its disk full: the exit record and containerd's own copy must do.
      this.#options.onTrouble?.(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #openQueue(): DiskQueue {
    const { queueFile: path, queueLimitBytes: limitBytes = 1 << 20 } = this.#options;
    this.#queue ??= new DiskQueue({ path, limitBytes });
    return this.#queue;
  }
}

interface Reply {
  error?: { code: number; description: string };
}

/** One connection to a NATS server, for publishing to a stream and nothing else. */
class NatsLink {
  readonly #inbox = `_INBOX.${crypto.randomUUID().replaceAll("-", "")}`;
  #socket: Bun.Socket<undefined> | undefined;
  #unread: Buffer = Buffer.alloc(0);
  #unsent: Uint8Array | undefined;
  #ready = Promise.withResolvers<void>();
  #reply: PromiseWithResolvers<Reply> | undefined;
  #error: Error | undefined;

  static async connect(address: NatsAddress, tokenFile: string | undefined): Promise<NatsLink> {
    const token = tokenFile ? readText(tokenFile).trim() : address.token;
    const link = new NatsLink();
    link.#ready.promise.catch(() => {});
    await Bun.connect<undefined>({
      hostname: address.host,
      port: address.port,
      socket: {
        binaryType: "buffer",
        open(socket) {
          link.#socket = socket;
        },
        data: (_, chunk) => link.#received(chunk, address, token),
        drain: () => link.#flush(),
        close: () => link.#broken(new Error("NATS closed the connection")),
        error: (_, error) => link.#broken(error),
      },
    });
    await withTimeout(link.#ready.promise, () => link.close());
    return link;
  }

  /** Publish, and wait until the stream has the event. The stream is made if there is none. */
  async publish(event: OutgoingEvent): Promise<void> {
    const headers = `NATS/1.0\r\nNats-Msg-Id: ${event.id}\r\n\r\n`;
    const reply = await this.#request(event.subject, event.payload, headers);
    if (reply.error?.code !== 503) return failOn(reply);
    failOn(await this.#request(`$JS.API.STREAM.CREATE.${STREAM}`, JSON.stringify(streamConfig())));
    failOn(await this.#request(event.subject, event.payload, headers));
  }

  close(): void {
    this.#broken(new Error("the NATS connection was closed"));
  }

  async #request(subject: string, payload: string, headers = ""): Promise<Reply> {
    if (this.#error) throw this.#error;
    const body = Buffer.from(payload);
    const head = Buffer.byteLength(headers);
    const sizes = head > 0 ? `${head} ${head + body.length}` : `${body.length}`;
    const verb = head > 0 ? "HPUB" : "PUB";
    const reply = Promise.withResolvers<Reply>();
    this.#reply = reply;
    this.#send(
      Buffer.concat([Buffer.from(`${verb} ${subject} ${this.#inbox} ${sizes}\r\n${headers}`), body, CRLF]),
    );
    return withTimeout(reply.promise, () => this.close());
  }

  #received(chunk: Buffer, address: NatsAddress, token: string | undefined): void {
    this.#unread = this.#unread.length > 0 ? Buffer.concat([this.#unread, chunk]) : Buffer.from(chunk);
    for (let end = this.#unread.indexOf(CRLF); end >= 0; end = this.#unread.indexOf(CRLF)) {
      const line = this.#unread.toString("utf8", 0, end);
      const [verb = "", ...words] = line.split(" ");
      const bodyBytes = verb === "MSG" || verb === "HMSG" ? Number(words.at(-1)) + 2 : 0;
      if (this.#unread.length < end + 2 + bodyBytes) return;
      const body = this.#unread.subarray(end + 2, end + 2 + bodyBytes);
      this.#unread = this.#unread.subarray(end + 2 + bodyBytes);
      this.#take(verb, line, body, () => this.#greet(address, token));
    }
  }

  #take(verb: string, line: string, body: Buffer, greet: () => void): void {
    if (verb === "INFO" && this.#unsent === undefined) greet();
    else if (verb === "PING") this.#send(Buffer.from("PONG\r\n"));
    else if (verb === "PONG") this.#ready.resolve();
    else if (verb === "MSG") this.#reply?.resolve(parseReply(body));
    // A status without a body: nobody listens on the subject, so there is no stream.
    else if (verb === "HMSG")
      this.#reply?.resolve({ error: { code: statusOf(body), description: "no stream" } });
    else if (verb === "-ERR") this.#broken(new Error(`NATS: ${line.slice(5)}`));
  }

  #greet({ user, password }: NatsAddress, token: string | undefined): void {
    const options = {
      verbose: false,
      pedantic: false,
      headers: true,
      no_responders: true,
      protocol: 1,
      lang: "longshore",
      version: "1",
      name: "longshore-shim",
      ...(user !== undefined && { user, pass: password }),
      ...(token !== undefined && { auth_token: token }),
    };
    this.#send(Buffer.from(`CONNECT ${JSON.stringify(options)}\r\nSUB ${this.#inbox} 1\r\nPING\r\n`));
  }

  #send(bytes: Uint8Array): void {
    this.#unsent = this.#unsent?.length ? Buffer.concat([this.#unsent, bytes]) : bytes;
    this.#flush();
  }

  #flush(): void {
    if (!this.#unsent?.length || !this.#socket) return;
    this.#unsent = this.#unsent.subarray(Math.max(0, this.#socket.write(this.#unsent)));
  }

  #broken(error: Error): void {
    if (this.#error) return;
    this.#error = error;
    this.#ready.reject(error);
    this.#reply?.reject(error);
    this.#socket?.terminate();
  }
}

const CRLF = Buffer.from("\r\n");

/** The stream as every writer makes it: a week of events, at most 256 MiB, repeats known for two minutes. */
export function streamConfig() {
  return {
    name: STREAM,
    subjects: [STREAM_SUBJECTS],
    storage: "file",
    retention: "limits",
    discard: "old",
    num_replicas: 1,
    max_age: 7 * 24 * 3600 * 1e9,
    max_bytes: 256 << 20,
    duplicate_window: 120 * 1e9,
  };
}

function parseReply(body: Buffer): Reply {
  try {
    return JSON.parse(body.toString()) as Reply;
  } catch {
    return { error: { code: 500, description: "an answer that does not parse" } };
  }
}

function statusOf(body: Buffer): number {
  return Number(/^NATS\/1\.0 (\d+)/.exec(body.toString("latin1"))?.[1] ?? 500);
}

function failOn({ error }: Reply): void {
  if (error) throw new EngineError("unavailable", `JetStream: ${error.description} (${error.code})`);
}

async function withTimeout<T>(promise: Promise<T>, onTimeout: () => void): Promise<T> {
  const timer = setTimeout(onTimeout, ACK_TIMEOUT_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}
