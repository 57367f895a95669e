import { VERSION } from "@longshore/cli";
import { CliError } from "../cli-error.ts";
import { Connection } from "./connection.ts";
import type { EngineHost } from "./host.ts";
import { formatRequest, type HttpAnswer, readAnswer } from "./http.ts";

/** The newest API version that this client speaks, and the oldest. */
export const API_VERSION = "1.55";
const MIN_API_VERSION = "1.24";

/** A refusal by the engine. */
export class EngineRefusal extends Error {
  override readonly name = "EngineRefusal";
  readonly status: number;

  constructor(status: number, message: string) {
    super(`Error response from daemon: ${message}`);
    this.status = status;
  }
}

export interface EngineRequest {
  method?: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Without the version: `/containers/json`. */
  path: string;
  /** The newest version of the API whose answer is wanted. */
  atMost?: string;
  /** A list is sent as several parameters of that name. */
  query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it comes, in chunks. */
  body?: AsyncIterable<Buffer>;
}

/** A connection taken over from HTTP: raw bytes both ways. */
export interface Hijacked {
  connection: Connection;
  /** Framed by stream, unless it is a terminal's. */
  output: AsyncGenerator<Buffer>;
}

/** The Engine API of one engine. */
export class EngineClient {
  readonly host: EngineHost;
  #version: Promise<string> | undefined;
  /** What the ping told; filled by the first request. */
  #pinged: ReadonlyMap<string, string> = new Map();

  constructor(host: EngineHost) {
    this.host = host;
  }

  /** The API version of this session: the older one of ours and the engine's. */
  version(): Promise<string> {
    this.#version ??= this.#negotiate();
    return this.#version;
  }

  get serverHeaders(): ReadonlyMap<string, string> {
    return this.#pinged;
  }

  /** Send a request; the body of the answer is for the caller to read. @throws EngineRefusal for a status of 400 or more */
  async send(request: EngineRequest): Promise<HttpAnswer> {
    const { answer } = await this.#exchange(request, {});
    return answer;
  }

  /** Send a request and read the JSON of its answer. */
  async json<T>(request: EngineRequest): Promise<T> {
    const text = await this.text(request);
    return (text ? JSON.parse(text) : undefined) as T;
  }

  async text(request: EngineRequest): Promise<string> {
    return readText(await this.send(request));
  }

  async hijack(request: EngineRequest): Promise<Hijacked> {
    const { answer, connection } = await this.#exchange(request, { Connection: "Upgrade", Upgrade: "tcp" });
    return { connection, output: answer.body };
  }

  async #exchange(
    request: EngineRequest,
    extra: Readonly<Record<string, string>>,
  ): Promise<{ answer: HttpAnswer; connection: Connection }> {
    const agreed = await this.version();
    const { atMost = agreed } = request;
    const version = isOlder(atMost, agreed) ? atMost : agreed;
    const exchanged = await this.#raw({ ...request, path: `/v${version}${request.path}` }, extra);
    const { answer } = exchanged;
    if (answer.status >= 400)
      throw new EngineRefusal(answer.status, messageOf(answer, await readText(answer)));
    return exchanged;
  }

  async #raw(
    { method = "GET", path, query = {}, headers, json, body: pieces }: EngineRequest,
    extra: Readonly<Record<string, string>>,
  ): Promise<{ answer: HttpAnswer; connection: Connection }> {
    const parameters = Object.entries(query).flatMap(([key, value = []]) =>
      [value].flat().map((one) => `${key}=${encodeURIComponent(String(one))}`),
    );
    const target = parameters.length > 0 ? `${path}?${parameters.join("&")}` : path;
    const body = json === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(json));
    const connection = await Connection.open(this.host);
    const request = formatRequest(
      method,
      target,
      {
        Host: "api.moby.localhost",
        "User-Agent": `Docker-Client/${VERSION} (linux)`,
        ...(json !== undefined && { "Content-Type": "application/json" }),
        ...(pieces
          ? { "Transfer-Encoding": "chunked" }
          : (json !== undefined || method === "POST") && { "Content-Length": String(body.length) }),
        Connection: "close",
        ...headers,
        ...extra,
      },
      body,
    );
    try {
      await connection.write(request);
      if (pieces) await sendChunks(connection, pieces);
      return { answer: await readAnswer(connection, method), connection };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new CliError(`error during connect: ${method} ${JSON.stringify(`http://${path}`)}: ${why}`);
    }
  }

  async #negotiate(): Promise<string> {
    const { answer } = await this.#raw({ method: "HEAD", path: "/_ping" }, {});
    this.#pinged = answer.headers;
    const fixed = process.env.DOCKER_API_VERSION;
    if (fixed) return fixed.replace(/^v/, "");
    const theirs = answer.headers.get("api-version") ?? MIN_API_VERSION;
    if (isOlder(theirs, MIN_API_VERSION)) {
      throw new CliError(
        `the engine speaks API version ${theirs} at most; this client needs ${MIN_API_VERSION}`,
      );
    }
    return isOlder(theirs, API_VERSION) ? theirs : API_VERSION;
  }
}

/** The body of a request in chunks, up to its end or until the engine has enough of it. */
async function sendChunks(connection: Connection, pieces: AsyncIterable<Buffer>): Promise<void> {
  for await (const piece of pieces) {
    if (connection.hasAnswer) return;
    if (piece.length === 0) continue; // an empty chunk is the end
    await connection.write(Buffer.from(`${piece.length.toString(16)}\r\n`));
    await connection.write(piece);
    await connection.write(Buffer.from("\r\n"));
  }
  await connection.write(Buffer.from("0\r\n\r\n"));
}

export async function readText({ body }: HttpAnswer): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts).toString();
}

export function isOlder(a: string, b: string): boolean {
  const [aMajor = 0, aMinor = 0] = a.split(".").map(Number);
  const [bMajor = 0, bMinor = 0] = b.split(".").map(Number);
  return aMajor < bMajor || (aMajor === bMajor && aMinor < bMinor);
}

function messageOf({ status, headers }: HttpAnswer, body: string): string {
  if (headers.get("content-type")?.startsWith("application/json")) {
    try {
      const { message } = JSON.parse(body) as { message?: unknown };
      if (typeof message === "string" && message) return message.trim();
    } catch {
      // not what it says it is: shown as text
    }
  }
  return body.trim() || `the engine answered with status ${status} and no message`;
}
