import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { PassThrough, type Readable, type Writable } from "node:stream";
import { EngineError } from "@longshore/errors";
import type { z } from "zod";
import type { Review } from "../authz/authorizer.ts";
import { API_VERSION, compareVersions } from "./api-version.ts";
import { BODY_LIMIT_BYTES, parseJson, readBody } from "./body.ts";
import { toHttpError } from "./http-status.ts";

/** Headers of every answer, as Docker's. */
export const COMMON_HEADERS: Record<string, string> = {
  "Api-Version": API_VERSION,
  "Docker-Experimental": "false",
  Ostype: "linux",
  Server: "Longshore (linux)",
};

const TOO_LARGE = 413;

/** As much as the kernel takes. */
const TERMINAL_MAX = 65_535;

/** Where an answer goes: node's response, or the bare socket of a request with `Connection: Upgrade`. */
export type Transport =
  | { kind: "response"; response: ServerResponse }
  | { kind: "socket"; socket: Socket; rest: Buffer };

/** Both directions of a connection that was taken over. */
export interface Hijacked {
  input: Readable;
  output: Writable;
}

/** One API request with the means to answer it. */
export class ApiCall {
  readonly request: IncomingMessage;
  /** API version of the path, e.g. `1.41`. */
  readonly version: string;
  readonly query: URLSearchParams;
  /** Aborted when the client goes away before its answer is complete. */
  readonly signal: AbortSignal;
  params: Record<string, string> = {};
  private readonly transport: Transport;
  /** Undefined when nobody is to be asked before an answer goes out. */
  private readonly review: Review | undefined;
  private readonly abort = new AbortController();
  private answered = false;

  constructor(
    request: IncomingMessage,
    transport: Transport,
    version: string,
    query: URLSearchParams,
    review?: Review,
  ) {
    this.request = request;
    this.transport = transport;
    this.review = review;
    this.version = version;
    this.query = query;
    this.signal = this.abort.signal;
    const stream = transport.kind === "response" ? transport.response : transport.socket;
    const gone = () => this.abort.abort(new EngineError("canceled", "the client went away"));
    if (stream.destroyed) gone();
    else stream.once("close", gone);
    stream.on("error", () => {}); // a broken connection shows as `close`
  }

  /** Whether the request's API version is at least this one. */
  readonly atLeast = (version: string): boolean => compareVersions(this.version, version) >= 0;

  /** A path parameter that the route declares. */
  param(name: string): string {
    return this.params[name] ?? "";
  }

  /** A boolean query parameter, read as Docker does: absent, empty, `0`, `no`, `false` and `none` are false. */
  flag(name: string): boolean {
    const value = this.query.get(name)?.trim().toLowerCase() ?? "";
    return !["", "0", "no", "false", "none"].includes(value);
  }

  /** A whole-number query parameter that may not be left out. */
  wholeNumber(name: string): number {
    const value = this.integer(name);
    if (value !== undefined) return value;
    throw new EngineError("invalid_argument", 'strconv.Atoi: parsing "": invalid syntax');
  }

  /** Lines or columns of a terminal, which may not be left out. */
  terminalSize(name: "h" | "w"): number {
    const size = this.wholeNumber(name);
    if (size >= 0 && size <= TERMINAL_MAX) return size;
    const what = name === "h" ? "height" : "width";
    throw new EngineError("invalid_argument", `invalid resize ${what} "${size}": value out of range`);
  }

  /** A whole-number query parameter. */
  integer(name: string): number | undefined {
    const text = this.query.get(name);
    if (text === null || text === "") return undefined;
    const refuse = (why: string) =>
      new EngineError("invalid_argument", `strconv.Atoi: parsing ${JSON.stringify(text)}: ${why}`);
    if (!/^[+-]?[0-9]+$/.test(text)) throw refuse("invalid syntax");
    if (!Number.isSafeInteger(Number(text))) throw refuse("value out of range");
    return Number(text);
  }

  /**
   * The JSON body, checked.
   * @throws EngineError `invalid_argument` for another type, bad JSON or a field of the wrong type
   */
  async body<T>(schema: z.ZodType<T>): Promise<T> {
    const text = (await readBody(this.request, BODY_LIMIT_BYTES)).toString();
    const type = this.request.headers["content-type"] ?? "";
    if (text !== "" && !/^application\/json\b/i.test(type)) {
      throw new EngineError(
        "invalid_argument",
        `unsupported Content-Type header (${type}): must be 'application/json'`,
      );
    }
    // A plugin may mind the case of keys; it must have found what is read here.
    return parseJson(text, schema, { exact: this.review !== undefined });
  }

  /** Whether there is a body of at least so many bytes, or of an unknown number. */
  hasBody(leastBytes = 1): boolean {
    const { "content-length": length, "transfer-encoding": encoding } = this.request.headers;
    return encoding !== undefined || Number(length ?? 0) >= leastBytes;
  }

  /** The body, when there may be none. */
  async optionalBody<T>(schema: z.ZodType<T>): Promise<T | undefined> {
    return this.hasBody() ? this.body(schema) : undefined;
  }

  json(status: number, value: unknown): void {
    this.answer(status, "application/json", `${JSON.stringify(value)}\n`);
  }

  text(status: number, value: string, headers: Record<string, string> = {}): void {
    this.answer(status, "text/plain; charset=utf-8", value, headers);
  }

  empty(status: number): void {
    this.answer(status, undefined, "");
  }

  /** Answer with the error, if the answer hasn't begun. */
  error(error: unknown): void {
    if (this.answered) {
      this.cut();
      return;
    }
    const { status, message } = toHttpError(error);
    this.json(status, { message });
  }

  /** Answer with the error's words alone, as if they were the stream that was asked for, if that hasn't begun. */
  refuseStream(contentType: string, error: unknown): void {
    if (this.answered) {
      this.cut();
      return;
    }
    const { status, message } = toHttpError(error);
    this.answer(status, contentType, `${message}\r\n`);
  }

  /** Begin a streamed 200 answer; its headers go out at once. */
  stream(contentType: string, headers: Record<string, string> = {}): Writable {
    const all = { ...COMMON_HEADERS, ...headers, "Content-Type": contentType };
    return this.begin(200, all, () => {
      if (this.transport.kind === "socket") {
        this.transport.socket.write(head(200, { ...all, Connection: "close" }));
        return this.transport.socket;
      }
      const { response } = this.transport;
      response.writeHead(200, all);
      response.flushHeaders();
      return response;
    });
  }

  /** A streamed 200 answer, sent at the client's pace; a failure on the way cuts the connection. */
  async send(
    contentType: string,
    pieces: AsyncIterable<Buffer>,
    headers: Record<string, string> = {},
  ): Promise<void> {
    const output = this.stream(contentType, headers);
    for await (const piece of pieces) {
      this.signal.throwIfAborted();
      if (!output.write(piece)) await this.drained(output);
    }
    output.end();
  }

  /** Until an answer's stream takes more. @throws EngineError `canceled` when the client goes away */
  async drained(output: Writable): Promise<void> {
    try {
      await once(output, "drain", { signal: this.signal });
    } catch (error) {
      this.signal.throwIfAborted();
      throw error;
    }
  }

  /**
   * Take the connection over for raw bytes both ways. With `Upgrade` the answer is 101; without it the stream is the
   * body of a 200, and what the client sends is the body of its request.
   * @param headers of the 101
   */
  hijack(contentType: string, headers = upgradeHeaders(contentType)): Hijacked {
    if (this.transport.kind === "response") {
      return { input: this.request, output: this.stream(contentType) };
    }
    const { socket, rest } = this.transport;
    socket.setNoDelay?.(true);
    const output = this.begin(101, headers, () => {
      socket.write(head(101, headers));
      return socket;
    });
    if (rest.length > 0) socket.unshift(rest);
    return { input: socket, output };
  }

  /** Begin an answer that is a stream, at once or, when somebody is to be asked, as soon as it may; what is written meanwhile waits. */
  private begin(status: number, headers: Record<string, string>, start: () => Writable): Writable {
    this.answered = true;
    if (!this.review) return start();
    const gate = new PassThrough();
    gate.on("error", () => {});
    this.signal.addEventListener("abort", () => gate.destroy(), { once: true });
    this.review(status, headers).then(
      () => {
        if (!this.signal.aborted) gate.pipe(start());
      },
      (error: unknown) => {
        gate.destroy();
        this.refuse(error);
      },
    );
    return gate;
  }

  private answer(
    status: number,
    contentType: string | undefined,
    body: string,
    headers: Record<string, string> = {},
  ): void {
    this.answered = true;
    const bytes = Buffer.from(body);
    const all: Record<string, string> = {
      ...COMMON_HEADERS,
      ...headers,
      ...(contentType !== undefined && { "Content-Type": contentType }),
    };
    if (!this.review) {
      this.write(status, all, bytes);
      return;
    }
    this.review(status, all, bytes).then(
      () => this.write(status, all, bytes),
      (error: unknown) => this.refuse(error),
    );
  }

  /** Tell why there is no answer but this. */
  private refuse(error: unknown): void {
    const { status, message } = toHttpError(error);
    const headers = { ...COMMON_HEADERS, "Content-Type": "application/json" };
    this.write(status, headers, Buffer.from(`${JSON.stringify({ message })}\n`));
  }

  private write(status: number, headers: Record<string, string>, bytes: Buffer): void {
    const hasBody = status !== 204 && status !== 304;
    if (this.transport.kind === "response") {
      const { response } = this.transport;
      // The rest of a body that is too large, which may have no end, is not waited for.
      if (status === TOO_LARGE) response.shouldKeepAlive = false;
      response.writeHead(status, hasBody ? { "Content-Length": String(bytes.length), ...headers } : headers);
      response.end(this.request.method === "HEAD" ? undefined : bytes);
      return;
    }
    const all = { ...headers, "Content-Length": String(bytes.length), Connection: "close" };
    this.transport.socket.end(Buffer.concat([Buffer.from(head(status, all)), bytes]));
  }

  private cut(): void {
    if (this.transport.kind === "response") this.transport.response.destroy();
    else this.transport.socket.destroy();
  }
}

function upgradeHeaders(contentType: string): Record<string, string> {
  return { "Content-Type": contentType, Connection: "Upgrade", Upgrade: "tcp" };
}

function head(status: number, headers: Record<string, string>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${status === 101 ? "UPGRADED" : (STATUS_CODES[status] ?? "")}\r\n${lines.join("")}\r\n`;
}
