import http from "node:http";
import { EngineError } from "@longshore/errors";
import type { Metric } from "./prometheus.ts";
import { renderMetrics } from "./prometheus.ts";

/**
 * Serve `/metrics` for Prometheus on a TCP port of its own, without TLS, as Docker does.
 *
 * @param address `HOST:PORT`; without a host every address of the machine
 * @throws EngineError `invalid_argument` for what is no address, `failed_precondition` for one that can't be had
 */
export async function serveMetrics(address: string, collect: () => Metric[]): Promise<Disposable> {
  const { hostname, port } = parseMetricsAddress(address);
  const server = http.createServer((request, response) => {
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
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: Error) =>
      reject(
        new EngineError("failed_precondition", `metrics-addr: listen tcp ${address}: ${cause.message}`, {
          cause,
        }),
      ),
    );
    server.listen({ port, ...(hostname !== "" && { host: hostname }) }, resolve);
  });
  return {
    [Symbol.dispose]: () => {
      server.close();
      server.closeAllConnections();
    },
  };
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
