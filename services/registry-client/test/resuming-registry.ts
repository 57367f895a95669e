import http from "node:http";
import type { AddressInfo } from "node:net";
import { sha256 } from "./images.ts";
import type { Stage } from "./peers.ts";

/** A registry in memory that keeps the bytes of a broken upload, as the specification lets it. */
export class ResumingRegistry {
  readonly host: string;
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, Buffer>();
  /** `METHOD path`, with the range of a chunk. */
  readonly requests: string[] = [];
  /** Tear the nth PATCH after so many bytes. */
  cut: { patch: number; after: number } | undefined;
  /** Refuse longer bodies. */
  maxBody = Number.POSITIVE_INFINITY;
  received = 0;
  readonly #uploads = new Map<string, Buffer>();
  #patches = 0;

  private constructor(host: string) {
    this.host = host;
  }

  static async start(stage: Stage): Promise<ResumingRegistry> {
    let registry: ResumingRegistry | undefined;
    const server = http.createServer((request, response) => void registry?.serve(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    registry = new ResumingRegistry(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    stage.defer(() => {
      server.closeAllConnections();
      server.close();
    });
    return registry;
  }

  async serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://registry");
    const { method = "" } = request;
    const range = request.headers["content-range"];
    this.requests.push(`${method} ${url.pathname}${range === undefined ? "" : ` ${range}`}`);
    const name = decodeURIComponent(url.pathname.split("/").at(-1) ?? "");
    if (url.pathname === "/v2/") response.end();
    else if (method === "HEAD") {
      response.statusCode = this.blobs.has(name) || this.manifests.has(name) ? 200 : 404;
      response.end();
    } else if (Number(request.headers["content-length"] ?? 0) > this.maxBody) {
      response.writeHead(413, { connection: "close" }).end();
    } else if (url.pathname.includes("/manifests/")) {
      this.manifests.set(name, await bodyOf(request));
      response.writeHead(201).end();
    } else if (method === "POST") {
      this.#answer(response, 202, String(this.#uploads.size + 1));
    } else if (method === "PATCH") await this.#patch(request, response, name);
    else if (method === "GET") this.#answer(response, 204, name);
    else if (method === "PUT") {
      const whole = Buffer.concat([this.#held(name), await bodyOf(request)]);
      const digest = url.searchParams.get("digest") ?? "";
      const good = sha256(whole) === digest;
      if (good) this.blobs.set(digest, whole);
      response.writeHead(good ? 201 : 400).end();
    }
  }

  async #patch(request: http.IncomingMessage, response: http.ServerResponse, upload: string): Promise<void> {
    this.#patches += 1;
    const [, start = "0"] = /^(\d+)-/.exec(request.headers["content-range"] ?? "") ?? [];
    if (Number(start) !== this.#held(upload).length) return this.#answer(response, 416, upload);
    let length = 0;
    try {
      for await (const data of request as AsyncIterable<Buffer>) {
        const limit = this.cut?.patch === this.#patches ? this.cut.after - length : data.length;
        const part = data.subarray(0, Math.max(0, limit));
        length += part.length;
        this.received += part.length;
        this.#uploads.set(upload, Buffer.concat([this.#held(upload), part]));
        if (part.length < data.length) {
          request.socket.destroy();
          return;
        }
      }
    } catch {
      return; // torn by the other side
    }
    this.#answer(response, 202, upload);
  }

  #held(upload: string): Buffer {
    return this.#uploads.get(upload) ?? Buffer.alloc(0);
  }

  #answer(response: http.ServerResponse, status: number, upload: string): void {
    this.#uploads.set(upload, this.#held(upload));
    const end = Math.max(0, this.#held(upload).length - 1);
    response.writeHead(status, { location: `/v2/x/blobs/uploads/${upload}`, range: `0-${end}` }).end();
  }
}

async function bodyOf(request: http.IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}
