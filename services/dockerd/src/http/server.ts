import fs from "node:fs";
import http, { type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import FindMyWay, { type HTTPMethod } from "find-my-way";
import { splitVersion } from "./api-version.ts";
import { ApiCall, type Transport } from "./call.ts";

export type Handler = (call: ApiCall) => Promise<void> | void;

/** An operation of the API: `"GET /containers/:id/json"`. */
export interface Route {
  method: HTTPMethod;
  path: string;
  handler: Handler;
}

/** The Engine API on one or more unix sockets. */
export class ApiServer {
  private readonly router = FindMyWay({ ignoreTrailingSlash: true, maxParamLength: 1024 });
  private readonly servers: http.Server[] = [];
  private readonly sockets = new Set<Socket>();
  private readonly log: Logger;

  constructor(log: Logger) {
    this.log = log;
  }

  add(routes: Route[]): void {
    for (const { method, path: route, handler } of routes) {
      this.router.on(method, route, () => {}, handler);
    }
  }

  /** Listen on a unix socket that root and its group may use; a stale socket file is replaced. */
  async listen(socketPath: string): Promise<void> {
    fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o711 });
    try {
      fs.unlinkSync(socketPath);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
    const server = http.createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 });
    server.on("request", (request, response) => this.dispatch(request, { kind: "response", response }));
    server.on("upgrade", (request, socket, rest) =>
      this.dispatch(request, { kind: "socket", socket: socket as Socket, rest }),
    );
    server.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.once("close", () => this.sockets.delete(socket));
    });
    const umask = process.umask(0o117);
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(socketPath, resolve);
      });
    } finally {
      process.umask(umask);
    }
    fs.chmodSync(socketPath, 0o660);
    this.servers.push(server);
  }

  /** Stop serving at once; containers are none of this server's business. */
  close(): void {
    for (const server of this.servers) server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private dispatch(request: IncomingMessage, transport: Transport): void {
    const given = request.url ?? "/";
    // A path with two slashes in front would be taken for a host.
    const url = given.startsWith("/") ? URL.parse(`http://docker${given}`) : URL.parse(given);
    const query = url?.searchParams ?? new URLSearchParams();
    const call = (version: string) => new ApiCall(request, transport, version, query);
    let target: ReturnType<typeof splitVersion>;
    try {
      if (!url) throw new EngineError("invalid_argument", `invalid request URI ${JSON.stringify(given)}`);
      target = splitVersion(url.pathname);
    } catch (error) {
      call("").error(error);
      return;
    }
    const api = call(target.version);
    const found = this.router.find((request.method ?? "GET") as HTTPMethod, target.path);
    if (found === null) {
      api.error(new EngineError("not_found", "page not found"));
      return;
    }
    for (const [name, value] of Object.entries(found.params)) api.params[name] = value ?? "";
    void this.run(api, found.store as Handler);
  }

  private async run(call: ApiCall, handler: Handler): Promise<void> {
    const started = performance.now();
    const { method, url } = call.request;
    try {
      await handler(call);
    } catch (error) {
      if (!(error instanceof EngineError)) this.log.error({ method, url, err: error }, "request failed");
      call.error(error);
    }
    this.log.debug({ method, url, ms: Number((performance.now() - started).toFixed(2)) }, "request");
  }
}
