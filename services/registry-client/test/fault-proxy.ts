import net from "node:net";
import type { Stage } from "./peers.ts";

/** What a request that came by was, and what went through. */
export interface Passed {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Of the answer; 0 until there is one. */
  status: number;
  /** Bytes of bodies. */
  up: number;
  down: number;
}

/** What to do to a request instead of just passing it on. */
export interface Fault {
  /** Answer this, asking nobody. */
  status?: number;
  headers?: Record<string, string>;
  /** Tear the connection after so many bytes of the answer's body, or of the request's. */
  cutDown?: number;
  cutUp?: number;
  /** Change this byte of the answer's body. */
  corruptAt?: number;
  delayMs?: number;
  /** Bytes a second of the answer. */
  pace?: number;
}

export type FaultOf = (request: Passed, count: number) => Fault | undefined;

/** Stands before a registry, counts, and does harm as a test tells it to. One request a connection. */
export class FaultProxy {
  readonly host: string;
  readonly passed: Passed[] = [];
  fault: FaultOf = () => undefined;
  readonly #upstream: string;
  readonly #counts = new Map<string, number>();

  private constructor(host: string, upstream: string) {
    this.host = host;
    this.#upstream = upstream;
  }

  static async start(stage: Stage, upstream: string): Promise<FaultProxy> {
    const sockets = new Set<net.Socket>();
    let proxy: FaultProxy | undefined;
    const server = net.createServer((socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      if (proxy) proxy.#accept(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    proxy = new FaultProxy(`127.0.0.1:${(server.address() as net.AddressInfo).port}`, upstream);
    stage.defer(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return proxy;
  }

  /** The requests of a method for paths that contain a text. */
  seen(method: string, part: string): Passed[] {
    return this.passed.filter((request) => request.method === method && request.path.includes(part));
  }

  /** Bytes of bodies that came down for paths that contain a text. */
  bytesDown(part: string): number {
    return this.passed.reduce((sum, { path, down }) => sum + (path.includes(part) ? down : 0), 0);
  }

  forget(): void {
    this.passed.length = 0;
    this.#counts.clear();
    this.fault = () => undefined;
  }

  #accept(socket: net.Socket): void {
    socket.on("error", () => socket.destroy());
    let head = Buffer.alloc(0);
    const onData = (data: Buffer) => {
      head = Buffer.concat([head, data]);
      if (head.length > 0 && !/^[A-Z]/.test(head.toString("latin1", 0, 1))) {
        // A TLS handshake, which gets what a server without TLS gives it.
        socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        return;
      }
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      socket.off("data", onData);
      socket.pause();
      void this.#serve(socket, head.toString("latin1", 0, end), head.subarray(end + 4));
    };
    socket.on("data", onData);
  }

  async #serve(client: net.Socket, head: string, rest: Buffer): Promise<void> {
    const [first = "", ...lines] = head.split("\r\n");
    const [method = "", path = ""] = first.split(" ");
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(":")).toLowerCase(),
        line.slice(line.indexOf(":") + 1).trim(),
      ]),
    );
    const request: Passed = { method, path, headers, status: 0, up: 0, down: 0 };
    this.passed.push(request);
    const key = `${method} ${path.split("?")[0]}`;
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    const fault = this.fault(request, count) ?? {};
    if (fault.delayMs) await Bun.sleep(fault.delayMs);
    if (fault.status !== undefined) {
      request.status = fault.status;
      const extra = Object.entries(fault.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
      client.end(
        `HTTP/1.1 ${fault.status} X\r\n${extra.join("")}Content-Length: 0\r\nConnection: close\r\n\r\n`,
      );
      return;
    }
    this.#pass(client, request, fault, { head: [first, ...lines], rest });
  }

  #pass(
    client: net.Socket,
    request: Passed,
    fault: Fault,
    { head, rest }: { head: string[]; rest: Buffer },
  ): void {
    const [host = "", port = ""] = this.#upstream.split(":");
    const server = net.connect(Number(port), host);
    const both = () => {
      client.destroy();
      server.destroy();
    };
    server.on("error", both);
    client.on("error", both);
    client.on("close", () => server.destroy());
    const lines = head.filter((line) => !/^connection:/i.test(line));
    server.write(`${[...lines, "Connection: close"].join("\r\n")}\r\n\r\n`);
    const up = (data: Buffer) => {
      const part = fault.cutUp === undefined ? data : data.subarray(0, Math.max(0, fault.cutUp - request.up));
      request.up += part.length;
      const cut = part.length < data.length;
      // What was let through must arrive before the connection is torn.
      if (cut) server.end(part, () => both());
      else if (!server.write(part)) {
        client.pause();
        server.once("drain", () => client.resume());
      }
    };
    if (rest.length > 0) up(rest);
    client.on("data", up);
    client.resume();
    void this.#answer(client, server, request, fault);
  }

  async #answer(client: net.Socket, server: net.Socket, request: Passed, fault: Fault): Promise<void> {
    let head: Buffer | undefined = Buffer.alloc(0);
    try {
      for await (const data of server as AsyncIterable<Buffer>) {
        let body = data;
        if (head) {
          head = Buffer.concat([head, data]);
          const end = head.indexOf("\r\n\r\n");
          if (end < 0) continue;
          request.status = Number(head.toString("latin1", 9, 12));
          client.write(head.subarray(0, end + 4));
          body = head.subarray(end + 4);
          head = undefined;
        }
        const { corruptAt, cutDown, pace } = fault;
        if (corruptAt !== undefined && corruptAt >= request.down && corruptAt < request.down + body.length) {
          body = Buffer.from(body);
          const at = corruptAt - request.down;
          body[at] = (body[at] ?? 0) ^ 0xff;
        }
        const part = cutDown === undefined ? body : body.subarray(0, Math.max(0, cutDown - request.down));
        if (client.destroyed) return;
        request.down += part.length;
        await new Promise<void>((resolve) => client.write(part, () => resolve()));
        if (part.length < body.length) {
          client.destroy();
          server.destroy();
          return;
        }
        if (pace) await Bun.sleep((part.length / pace) * 1000);
      }
      client.end();
    } catch {
      client.destroy(); // the server went away
    }
  }
}

/** A forward proxy: passes `CONNECT host:port` and requests for absolute URLs to where a table says the host is. */
export class ForwardProxy {
  readonly url: string;
  /** `CONNECT host:port` or `GET http://host/…`, with what proof came along. */
  readonly seen: { target: string; authorization: string }[] = [];

  private constructor(url: string) {
    this.url = url;
  }

  static async start(stage: Stage, hosts: Record<string, string>): Promise<ForwardProxy> {
    const sockets = new Set<net.Socket>();
    let proxy: ForwardProxy | undefined;
    const server = net.createServer((client) => {
      sockets.add(client);
      client.on("close", () => sockets.delete(client));
      client.on("error", () => client.destroy());
      client.once("data", (data: Buffer) => {
        const [head = ""] = data.toString("latin1").split("\r\n\r\n");
        const [method = "", target = ""] = head.split(" ");
        proxy?.seen.push({
          target: `${method} ${target}`,
          authorization: /^proxy-authorization: (.*)$/im.exec(head)?.[1] ?? "",
        });
        const name = method === "CONNECT" ? target : new URL(target).host;
        const real = hosts[name];
        if (!real) {
          client.end("HTTP/1.1 502 Unknown Host\r\nContent-Length: 0\r\n\r\n");
          return;
        }
        const [host = "", port = ""] = real.split(":");
        const upstream = net.connect(Number(port), host, () => {
          if (method === "CONNECT") client.write("HTTP/1.1 200 OK\r\n\r\n");
          else upstream.write(data.toString("latin1").replace(target, new URL(target).pathname), "latin1");
          client.pipe(upstream).pipe(client);
        });
        upstream.on("error", () => client.destroy());
        client.on("close", () => upstream.destroy());
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    proxy = new ForwardProxy(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
    stage.defer(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return proxy;
  }
}
