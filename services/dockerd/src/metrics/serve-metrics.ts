import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { EngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { inFrontOf, limitConnections, listening } from "../http/listeners.ts";
import type { Metric } from "./prometheus.ts";
import { renderMetrics } from "./prometheus.ts";

/** Limits of the listener, which needs no key: whoever reaches it may connect. */
export interface MetricsLimits {
  /** At a time; further ones are closed. */
  connections: number;
  /** Milliseconds for a connection, which carries one request. */
  connectionMs: number;
}

const LIMITS: MetricsLimits = { connections: 128, connectionMs: 10_000 };

/**
 * Serve `/metrics` for Prometheus on a TCP port of its own, without TLS, as Docker does.
 *
 * @param address `HOST:PORT`; without a host every address of the machine
 * @throws EngineError `invalid_argument` for what is no address, `failed_precondition` for one that can't be had
 */
export async function serveMetrics(
  address: string,
  collect: () => Metric[],
  log: Logger,
  { connections, connectionMs }: MetricsLimits = LIMITS,
): Promise<Disposable> {
  const { hostname, port } = parseMetricsAddress(address);
  const behind = http.createServer((request, response) => {
    response.shouldKeepAlive = false;
    answer(request, response, collect);
  });
  const sockets = new Set<Socket>();
  const server = inFrontOf(behind, (socket) => {
    const late = setTimeout(() => socket.destroy(), connectionMs);
    sockets.add(socket);
    socket.once("close", () => {
      clearTimeout(late);
      sockets.delete(socket);
    });
    socket.on("error", () => {}); // shows as `close`
  });
  limitConnections(server, connections, log);
  try {
    await listening(server, { port, ...(hostname !== "" && { host: hostname }) });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new EngineError("failed_precondition", `metrics-addr: listen tcp ${address}: ${why}`, { cause });
  }
  return {
    [Symbol.dispose]: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function answer(request: IncomingMessage, response: ServerResponse, collect: () => Metric[]): void {
  if (request.url?.split("?")[0] !== "/metrics") {
    response.writeHead(404, { "Content-Type": "text/plain; charset=utf-8" }).end("404 page not found\n");
    return;
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.writeHead(405).end();
    return;
  }
  const text = renderMetrics(collect());
  response.writeHead(200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" }).end(text);
}

/** @throws EngineError `invalid_argument` */
export function parseMetricsAddress(address: string): { hostname: string; port: number } {
  const [, bracketed, plain = "", port = ""] =
    /^(?:\[([0-9a-f:.]+)\]|([^[\]:/]*)):(\d{1,5})$/i.exec(address) ?? [];
  if (port === "" || Number(port) > 65_535)
    throw new EngineError(
      "invalid_argument",
      `metrics-addr: invalid address ${JSON.stringify(address)}: expected HOST:PORT`,
    );
  return { hostname: bracketed ?? plain, port: Number(port) };
}
