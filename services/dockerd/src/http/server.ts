import http, { type IncomingMessage } from "node:http";
import type net from "node:net";
import type { Socket } from "node:net";
import tls from "node:tls";
import { EngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { socketName } from "@longshore/syscalls";
import FindMyWay, { type HTTPMethod } from "find-my-way";
import type { Authorizer, Review } from "../authz/authorizer.ts";
import type { Host } from "../config/hosts.ts";
import type { TlsKeys } from "../config/tls.ts";
import { isBeforeJsonErrors, MIN_API_VERSION, splitVersion } from "./api-version.ts";
import { ApiCall, type Transport } from "./call.ts";
import { HEAD_TIMEOUT_MS, HeadDeadline } from "./head-deadline.ts";
import { toHttpError } from "./http-status.ts";
import {
  chooseSockets,
  inFrontOf,
  inheritedSockets,
  limitConnections,
  listening,
  listenTcp,
  listenUnix,
} from "./listeners.ts";
import { refuseGarbage } from "./refuse-garbage.ts";
import { parseTarget, type RequestTarget } from "./request-target.ts";
import { takeBody } from "./upgrade-body.ts";

export type Handler = (call: ApiCall) => Promise<void> | void;

/** An operation of the API: `"GET /containers/:id/json"`. */
export interface Route {
  method: HTTPMethod;
  path: string;
  handler: Handler;
  /** The version of the API that brought it; to older requests it isn't there. */
  since?: string;
  /** Parameters of the query that may be repeated, because all their values are read. */
  lists?: readonly string[];
}

interface Operation {
  handler: Handler;
  /** Method and route. */
  name: string;
  /** As in `Route`. */
  lists: readonly string[];
}

/** OPTIONS is answered for every path. */
const OPTIONS: Operation = { handler: (call) => call.empty(200), name: "OPTIONS", lists: [] };

/** The operation that a request asks for. */
interface Routed {
  operation: Operation;
  params: Record<string, string | undefined>;
  version: string;
}

export interface ListenOptions {
  /** For TCP; undefined: plain HTTP. */
  tls: TlsKeys | undefined;
  /** Number of the group of unix sockets; undefined: root's. */
  group: number | undefined;
  /** Looks at the address of a TCP socket that was opened by someone else. @throws for one that is not to be served */
  checkAddress(host: Host): void;
}

/** What clients may take of the server. */
export interface ServerLimits {
  /** How long the head of a request may take, milliseconds. */
  headTimeoutMs: number;
  /** How long a TLS handshake may take, milliseconds: nobody has shown a key yet. */
  handshakeTimeoutMs: number;
  /** Connections at a time of one TCP socket; further ones are closed. */
  tcpConnections: number;
}

const LIMITS: ServerLimits = {
  headTimeoutMs: HEAD_TIMEOUT_MS,
  handshakeTimeoutMs: 30_000,
  tcpConnections: 4096,
};

/** Who is told of operations. */
export interface ServerListeners {
  /** One begins. @param describe its method and path. @returns what is called at its end */
  onCall(describe: () => string): () => void;
  /** One has succeeded. @param route `GET /containers/:id/json` */
  onDone(route: string, seconds: number): void;
}

/** The Engine API on any number of sockets. */
export class ApiServer {
  private readonly router = FindMyWay({ maxParamLength: 1024 });
  private readonly servers: net.Server[] = [];
  private readonly sockets = new Set<Socket>();
  private readonly log: Logger;
  private readonly authorizer: Authorizer;
  private readonly minApiVersion: string;
  private readonly listeners: ServerListeners;
  private readonly limits: ServerLimits;
  private readonly heads: HeadDeadline;

  /**
   * @param minApiVersion the oldest version of the API that is served
   */
  constructor(
    log: Logger,
    authorizer: Authorizer,
    listeners: ServerListeners,
    minApiVersion: string = MIN_API_VERSION,
    limits: Partial<ServerLimits> = {},
  ) {
    this.limits = { ...LIMITS, ...limits };
    this.heads = new HeadDeadline(this.limits.headTimeoutMs);
    this.minApiVersion = minApiVersion;
    this.log = log;
    this.authorizer = authorizer;
    this.listeners = listeners;
  }

  add(routes: Route[]): void {
    for (const { method, path: route, handler, since, lists = [] } of routes) {
      const name = `${method} ${route}`;
      const served = since === undefined ? handler : sinceVersion(name, since, handler);
      this.router.on(method, route, () => {}, { handler: served, name, lists } satisfies Operation);
    }
  }

  /** Listen everywhere. @throws EngineError for an address that can't be had or is not to be served */
  async listen(hosts: readonly Host[], { tls: keys, group, checkAddress }: ListenOptions): Promise<void> {
    const inherited = inheritedSockets();
    for (const host of hosts) {
      if (host.kind === "unix") await listenUnix(this.plain(), host.path, group);
      else if (host.kind === "tcp") await listenTcp(this.tcp(keys), host);
      else {
        for (const fd of chooseSockets(host.name, inherited)) {
          const name = socketName(fd);
          if (name.family === "inet") checkAddress({ kind: "tcp", ...name });
          await listening(name.family === "inet" ? this.tcp(keys) : this.handing(), { fd });
        }
      }
    }
  }

  private tcp(keys: TlsKeys | undefined): net.Server {
    const server = keys ? this.secure(keys) : this.handing();
    limitConnections(server, this.limits.tcpConnections, this.log);
    return server;
  }

  private plain(): http.Server {
    const server = http.createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 });
    server.on("request", (request, response) => {
      this.heads.received(request, response);
      this.dispatch(request, { kind: "response", response });
    });
    server.on("upgrade", (request, socket, rest) => {
      this.heads.received(request);
      this.upgrade(request, socket as Socket, rest, { handed: !server.listening });
    });
    server.on("connection", (socket) => this.keep(socket));
    server.on("clientError", refuseGarbage);
    this.servers.push(server);
    return server;
  }

  /** For TCP and for sockets that are open already. */
  private handing(): net.Server {
    const server = inFrontOf(this.plain());
    this.servers.push(server);
    return server;
  }

  /** TLS, in front of an http server that doesn't listen: bun's https server doesn't say whose certificate a request came with. */
  private secure(keys: TlsKeys): tls.Server {
    const behind = this.plain();
    const options = { ...keys, handshakeTimeout: this.limits.handshakeTimeoutMs, allowHalfOpen: true };
    const server = tls.createServer(options, (socket) => behind.emit("connection", socket));
    server.on("tlsClientError", (error, socket) => {
      this.log.info({ err: error.message }, "TLS handshake failed");
      socket.destroy(); // also one that sent nothing until the time-out
    });
    this.servers.push(server);
    return server;
  }

  private upgrade(
    request: IncomingMessage,
    socket: Socket,
    rest: Buffer,
    { handed }: { handed: boolean },
  ): void {
    if (!handed) {
      this.dispatch(request, { kind: "socket", socket, rest });
      return;
    }
    takeBody(request, socket, rest).then(
      (taken) => this.dispatch(taken.request, { kind: "socket", socket, rest: taken.rest }),
      (error: unknown) =>
        new ApiCall(request, { kind: "socket", socket, rest }, "", new URLSearchParams()).error(error),
    );
  }

  private keep(socket: Socket): void {
    this.sockets.add(socket);
    this.heads.connected(socket);
    socket.once("close", () => this.sockets.delete(socket));
    socket.on("error", () => {}); // shows as `close`
  }

  /** Stop serving at once; containers are none of this server's business. */
  close(): void {
    for (const server of this.servers) if (server.listening) server.close();
    for (const socket of this.sockets) socket.destroy();
    this.heads[Symbol.dispose]();
  }

  private dispatch(request: IncomingMessage, transport: Transport): void {
    const bare = () => new ApiCall(request, transport, "", new URLSearchParams());
    let target: RequestTarget | undefined;
    let routed: Routed;
    try {
      target = parseTarget(request.url ?? "/");
      routed = this.find(request.method ?? "GET", target);
    } catch (error) {
      const { status, message } = toHttpError(error);
      if (target && isBeforeJsonErrors(target.path)) bare().text(status, `${message}\n`);
      else bare().error(error);
      return;
    }
    const { operation, params, version } = routed;
    const { query } = target;
    const run = (asked: IncomingMessage, review?: Review) => {
      const call = new ApiCall(asked, transport, version, query, review);
      for (const [name, value] of Object.entries(params)) call.params[name] = value ?? "";
      void this.run(call, operation);
    };
    if (!this.authorizer.active) {
      run(request);
      return;
    }
    const gone = transport.kind === "response" ? transport.response : transport.socket;
    gone.on("error", () => {}); // shows as `close`
    this.authorizer.authorize(request, operation, query).then(
      (authorized) => run(authorized.request, authorized.review),
      (error: unknown) => bare().error(error),
    );
  }

  /** @throws EngineError `invalid_argument` for a version that isn't served, `not_found` for what is no operation */
  private find(method: string, target: RequestTarget): Routed {
    const { version, path } = splitVersion(target.path, this.minApiVersion);
    if (method === "OPTIONS") return { operation: OPTIONS, params: {}, version };
    const found = this.router.find(method as HTTPMethod, path);
    if (found === null) throw new EngineError("not_found", "page not found");
    return { operation: found.store as Operation, params: found.params, version };
  }

  private async run(call: ApiCall, { handler, name }: Operation): Promise<void> {
    const { method, url } = call.request;
    const ended = this.listeners.onCall(() => `${method} ${url?.split("?")[0]}`);
    const started = performance.now();
    try {
      await handler(call);
      this.listeners.onDone(name, (performance.now() - started) / 1000);
    } catch (error) {
      if (!(error instanceof EngineError)) this.log.error({ method, url, err: error }, "request failed");
      call.error(error);
    } finally {
      ended();
    }
    this.log.debug({ method, url, ms: Number((performance.now() - started).toFixed(2)) }, "request");
  }
}

/** An operation that requests of before its version don't get. */
function sinceVersion(name: string, since: string, handler: Handler): Handler {
  return (call) => {
    if (call.atLeast(since)) return handler(call);
    throw new EngineError("invalid_argument", `${name} requires minimum API version ${since}`);
  };
}
