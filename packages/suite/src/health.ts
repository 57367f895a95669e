import http from "node:http";
import http2 from "node:http2";
import net from "node:net";

/** Whether a daemon answers; never throws. */
export type Probe = () => Promise<boolean>;

const PROBE_TIMEOUT_MS = 2000;

/** gRPC's numbers for "it answered": fine, or a server without the health service. */
const ANSWERED = new Set(["0", "12"]);

/** A gRPC server on a unix socket, by `grpc.health.v1.Health/Check` for the whole server. */
export function grpcHealthy(socketPath: string): Probe {
  return () =>
    new Promise((resolve) => {
      const session = http2.connect("http://localhost", { createConnection: () => net.connect(socketPath) });
      const finish = (healthy: boolean) => {
        clearTimeout(timer);
        session.destroy();
        resolve(healthy);
      };
      const timer = setTimeout(() => finish(false), PROBE_TIMEOUT_MS);
      session.on("error", () => finish(false));
      const request = session.request({
        ":method": "POST",
        ":path": "/grpc.health.v1.Health/Check",
        "content-type": "application/grpc",
        te: "trailers",
      });
      const judge = (headers: http2.IncomingHttpHeaders) => {
        const status = headers["grpc-status"];
        if (status !== undefined) finish(ANSWERED.has(String(status)));
      };
      request.on("response", judge); // a failure may come without a body
      request.on("trailers", judge);
      request.on("error", () => finish(false));
      request.resume();
      request.end(Buffer.alloc(5)); // one uncompressed message of no bytes: no service name, so all of it
    });
}

/** The Engine API, by `/_ping`. */
export function engineHealthy(socketPath: string): Probe {
  return () =>
    new Promise((resolve) => {
      const request = http.get({ socketPath, path: "/_ping", timeout: PROBE_TIMEOUT_MS, agent: false });
      request.on("response", (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      request.on("timeout", () => request.destroy());
      request.on("error", () => resolve(false));
    });
}

/** A NATS server, which speaks first: a line that starts with INFO. */
export function natsHealthy(port: number): Probe {
  return () =>
    new Promise((resolve) => {
      const socket = net.connect({ host: "127.0.0.1", port });
      socket.setTimeout(PROBE_TIMEOUT_MS, () => socket.destroy());
      socket.once("data", (data) => {
        resolve(data.toString().startsWith("INFO "));
        socket.destroy();
      });
      socket.on("error", () => resolve(false));
      socket.on("close", () => resolve(false));
    });
}
