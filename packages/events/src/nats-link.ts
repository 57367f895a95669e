import { EngineError } from "@longshore/errors";
import { randomHex, readText } from "@longshore/syscalls";
import { type OutgoingEvent, STREAM, STREAM_SUBJECTS } from "./envelope.ts";
import type { NatsAddress } from "./nats-url.ts";
import { assertServerProcess, serverPidFile } from "./server-process.ts";

const ACK_TIMEOUT_MS = 5000;
/** The longest line: the server's greeting may name many others of its cluster. */
const MAX_LINE_BYTES = 64 << 10;
/** The largest message: NATS's own default limit, far above any answer. */
const MAX_BODY_BYTES = 1 << 20;

/** What JetStream answers. */
export interface Reply {
  error?: { code: number; err_code?: number; description: string };
  [field: string]: unknown;
}

/** One connection to a NATS server, for publishing to a stream and little else. */
export class NatsLink {
  readonly #onServer: (id: string) => void;
  readonly #inbox = `_INBOX.${randomHex(16)}`;
  #socket: Bun.Socket<undefined> | undefined;
  #unread: Buffer = Buffer.alloc(0);
  #unsent: Uint8Array | undefined;
  /** The first bytes to send, and the check before them. Undefined once they are sent. */
  #greeting: { bytes: Buffer; assertServer: () => void } | undefined;
  #reply: PromiseWithResolvers<Reply> | undefined;
  #pong: PromiseWithResolvers<void> | undefined;
  #error: Error | undefined;
  /** Called when the connection has ended, unless by `close`. */
  onBroken: ((error: Error) => void) | undefined;
  /** Messages of `subscribe`: headers and the subject that an answer would go to. */
  onMessage: ((message: { headers: string; reply: string }) => void) | undefined;

  /**
   * Connect. Where the server's process is known (`serverPidFile`), nothing is sent until the
   * server has greeted and the check has found that process. Elsewhere the link does not wait for
   * the greeting: the first packet carries the request. A server that refuses, or that is another
   * process, fails the first request.
   *
   * @param onServer told the id of the server's process when it is known: another one after each of its starts
   */
  static async connect(
    address: NatsAddress,
    tokenFile: string | undefined,
    onServer: (id: string) => void = () => {},
  ): Promise<NatsLink> {
    const link = new NatsLink(onServer);
    await Bun.connect<undefined>({
      hostname: address.host,
      port: address.port,
      socket: {
        binaryType: "buffer",
        open(socket) {
          link.#socket = socket;
          // Where nobody listens, a connection from the very port that it goes to is one to itself.
          if (socket.localPort === address.port) return link.#broken(new Error("NATS is not there"));
          link.#greet(address, tokenFile);
        },
        data: (_, chunk) => link.#received(chunk),
        drain: () => link.#flush(),
        close: () => link.#broken(new Error("NATS closed the connection")),
        error: (_, error) => link.#broken(error),
      },
    });
    return link;
  }

  private constructor(onServer: (id: string) => void) {
    this.#onServer = onServer;
  }

  /** Publish, and wait until the stream has the event. The stream is made if there is none. */
  async publish(event: OutgoingEvent): Promise<void> {
    const headers = `NATS/1.0\r\nNats-Msg-Id: ${event.id}\r\n\r\n`;
    const reply = await this.#request(event.subject, event.payload, headers);
    if (reply.error?.code !== 503) return failOn(reply);
    await this.createStream();
    failOn(await this.#request(event.subject, event.payload, headers));
  }

  /** Whether the server takes us in: it has answered. */
  async confirm(): Promise<void> {
    if (this.#error) throw this.#error;
    this.#pong = Promise.withResolvers<void>();
    this.#send(Buffer.from("PING\r\n"));
    await withTimeout(this.#pong.promise, () => this.close());
  }

  /** Make the stream, as large as the server has room for. */
  async createStream(): Promise<void> {
    for (const maxBytes of STREAM_BYTES) {
      const config = JSON.stringify(streamConfig(maxBytes));
      const reply = await this.#request(`$JS.API.STREAM.CREATE.${STREAM}`, config);
      if (reply.error?.err_code === NO_ROOM && maxBytes !== STREAM_BYTES.at(-1)) continue;
      failOn(reply);
      return;
    }
  }

  /** Ask JetStream's own API. */
  async ask(subject: string, request: object): Promise<Reply> {
    const reply = await this.#request(`$JS.API.${subject}`, JSON.stringify(request));
    failOn(reply);
    return reply;
  }

  subscribe(subject: string): void {
    this.#send(Buffer.from(`SUB ${subject} 2\r\n`));
  }

  get isOpen(): boolean {
    return this.#error === undefined;
  }

  close(): void {
    this.onBroken = undefined;
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

  #received(chunk: Buffer): void {
    this.#unread = this.#unread.length > 0 ? Buffer.concat([this.#unread, chunk]) : Buffer.from(chunk);
    for (let end = this.#unread.indexOf(CRLF); end >= 0; end = this.#unread.indexOf(CRLF)) {
      const line = this.#unread.toString("utf8", 0, end);
      const bodyBytes = bodyBytesOf(line);
      if (bodyBytes === undefined) {
        this.#broken(new Error(`NATS: a message without a size, or too large: ${line.slice(0, 200)}`));
        return;
      }
      if (this.#unread.length < end + 2 + bodyBytes) return;
      const body = this.#unread.subarray(end + 2, end + 2 + bodyBytes);
      this.#unread = this.#unread.subarray(end + 2 + bodyBytes);
      this.#take(line, body);
      if (this.#error) return;
    }
    if (this.#unread.length > MAX_LINE_BYTES) this.#broken(new Error("NATS: a line that does not end"));
  }

  #take(line: string, body: Buffer): void {
    const [verb, , subscription] = line.split(" ");
    if (verb === "INFO") this.#greeted(line);
    // Before the check the sender may be any process.
    else if (this.#greeting) this.#broken(new Error("NATS: the server does not greet"));
    else if (verb === "PING") this.#send(Buffer.from("PONG\r\n"));
    else if (verb === "PONG") this.#pong?.resolve();
    else if (this.onMessage && subscription === "2") this.onMessage(messageOf(line, body));
    else if (verb === "MSG") this.#reply?.resolve(parseReply(body));
    // A status without a body: nobody listens on the subject, so there is no stream.
    else if (verb === "HMSG")
      this.#reply?.resolve({ error: { code: statusOf(body), description: "no stream" } });
    else if (verb === "-ERR") this.#broken(new Error(`NATS: ${line.slice(5)}`));
  }

  #greet(address: NatsAddress, tokenFile: string | undefined): void {
    const token = tokenFile ? readText(tokenFile).trim() : address.token;
    const bytes = Buffer.from(`${connectLine(address, token)}SUB ${this.#inbox} 1\r\n`);
    const pidFile = serverPidFile(tokenFile);
    if (pidFile === undefined) {
      this.#send(bytes);
      return;
    }
    const localPort = this.#socket?.localPort;
    this.#greeting = { bytes, assertServer: () => assertServerProcess(pidFile, address, localPort) };
  }

  #greeted(info: string): void {
    if (this.#greeting) {
      const { bytes, assertServer } = this.#greeting;
      try {
        assertServer();
      } catch (error) {
        this.#broken(error as Error);
        return;
      }
      this.#greeting = undefined;
      this.#unsent = this.#unsent ? Buffer.concat([bytes, this.#unsent]) : bytes;
      this.#flush();
    }
    this.#onServer(/"server_id":"(\w+)"/.exec(info)?.[1] ?? "");
  }

  #send(bytes: Uint8Array): void {
    this.#unsent = this.#unsent?.length ? Buffer.concat([this.#unsent, bytes]) : bytes;
    this.#flush();
  }

  #flush(): void {
    if (!this.#unsent?.length || !this.#socket || this.#greeting) return;
    this.#unsent = this.#unsent.subarray(Math.max(0, this.#socket.write(this.#unsent)));
  }

  #broken(error: Error): void {
    if (this.#error) return;
    this.#error = error;
    this.#reply?.reject(error);
    this.#pong?.reject(error);
    this.#socket?.terminate();
    this.onBroken?.(error);
  }
}

const CRLF = Buffer.from("\r\n");

/** JetStream reserves a stream's size, and refuses (with this code) what is more than three quarters of what was free at its start. */
export const STREAM_BYTES = [256 << 20, 64 << 20, 16 << 20, 4 << 20] as const;
export const NO_ROOM = 10047;

/** The stream as every writer makes it: a week of events, at most 256 MiB, repeats known for two minutes. */
export function streamConfig(maxBytes: number) {
  return {
    name: STREAM,
    subjects: [STREAM_SUBJECTS],
    storage: "file",
    retention: "limits",
    discard: "old",
    num_replicas: 1,
    max_age: 7 * 24 * 3600 * 1e9,
    max_bytes: maxBytes,
    duplicate_window: 120 * 1e9,
  };
}

function connectLine({ user, password }: NatsAddress, token: string | undefined): string {
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
  return `CONNECT ${JSON.stringify(options)}\r\n`;
}

/**
 * The bytes that follow a line: a message's line ends with their number, other lines have none.
 * Undefined for a number that is missing or too large.
 */
function bodyBytesOf(line: string): number | undefined {
  if (!line.startsWith("MSG ") && !line.startsWith("HMSG ")) return 0;
  const size = / (\d{1,9})$/.exec(line)?.[1];
  return size !== undefined && Number(size) <= MAX_BODY_BYTES ? Number(size) + CRLF.length : undefined;
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

/** `HMSG subject sid [reply] headerBytes bytes`, or `MSG subject sid [reply] bytes`. */
function messageOf(line: string, body: Buffer): { headers: string; reply: string } {
  const words = line.split(" ");
  const numbers = words[0] === "HMSG" ? 2 : 1;
  const headers = numbers === 2 ? body.toString("utf8", 0, Number(words.at(-2))) : "";
  return { headers, reply: words.length > 3 + numbers ? (words[3] ?? "") : "" };
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
