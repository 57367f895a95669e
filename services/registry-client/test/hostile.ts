import net from "node:net";
import { sha256 } from "./images.ts";
import type { Stage } from "./peers.ts";

export interface SeenRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
}

/** What to send back: an HTTP head and body, by hand, so that both can be wrong. `cutAfter` bytes of the body the connection is torn. */
export interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  cutAfter?: number;
  /** Send the body again and again, for ever. */
  endless?: boolean;
  /** Bytes a second; unlimited when left out. */
  pace?: number;
}

export type Answer = (request: SeenRequest, count: number) => Reply;

/** A registry on loopback that answers as a test tells it to. */
export class HostileRegistry {
  readonly host: string;
  readonly requests: SeenRequest[] = [];
  readonly #counts = new Map<string, number>();

  private constructor(port: number) {
    this.host = `127.0.0.1:${port}`;
  }

  static async start(stage: Stage, answer: Answer): Promise<HostileRegistry> {
    let registry: HostileRegistry | undefined;
    const sockets = new Set<net.Socket>();
    const server = net.createServer((socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.on("error", () => socket.destroy());
      let text = "";
      socket.on("data", (data) => {
        text += data.toString("latin1");
        // A TLS handshake, which gets what a server without TLS gives it.
        if (!/^[A-Z]/.test(text)) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
          const head = text.slice(0, end);
          text = text.slice(end + 4);
          if (registry) void registry.#serve(socket, head, answer);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    registry = new HostileRegistry((server.address() as net.AddressInfo).port);
    stage.defer(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return registry;
  }

  /** The requests for paths that contain a text. */
  seen(part: string): SeenRequest[] {
    return this.requests.filter(({ path }) => path.includes(part));
  }

  async #serve(socket: net.Socket, head: string, answer: Answer): Promise<void> {
    const [first = "", ...lines] = head.split("\r\n");
    const [method = "", path = ""] = first.split(" ");
    const headers = Object.fromEntries(
      lines.map((line) => [
        line.slice(0, line.indexOf(":")).toLowerCase(),
        line.slice(line.indexOf(":") + 1).trim(),
      ]),
    );
    const request = { method, path, headers };
    this.requests.push(request);
    const count = (this.#counts.get(`${method} ${path}`) ?? 0) + 1;
    this.#counts.set(`${method} ${path}`, count);
    await send(socket, method, answer(request, count));
  }
}

async function send(socket: net.Socket, method: string, reply: Reply): Promise<void> {
  const body = Buffer.from(reply.body ?? "");
  const headers = reply.endless ? {} : { "Content-Length": String(body.length) };
  const lines = Object.entries({ ...headers, ...reply.headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.write(`HTTP/1.1 ${reply.status} X\r\n${lines.join("")}\r\n`);
  if (method === "HEAD") return;
  while (reply.endless && !socket.destroyed) {
    if (!socket.write(body))
      await new Promise((resolve) => socket.once("drain", resolve).once("close", resolve));
  }
  const part = body.subarray(0, reply.cutAfter ?? body.length);
  if (reply.pace) {
    for (let at = 0; at < part.length && !socket.destroyed; at += reply.pace / 20) {
      socket.write(part.subarray(at, at + reply.pace / 20));
      await Bun.sleep(50);
    }
  } else {
    await new Promise<void>((resolve) => socket.write(part, () => resolve()));
  }
  if (reply.cutAfter !== undefined) socket.destroy();
}

/** An image that a hostile registry serves: a manifest, a config and one layer of the given bytes. */
export function smallImage(layer: Buffer) {
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [sha256(layer)] },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: {
        mediaType: "application/vnd.oci.image.config.v1+json",
        digest: sha256(config),
        size: config.length,
      },
      layers: [
        { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: sha256(layer), size: layer.length },
      ],
    }),
  );
  const answer: Answer = ({ path }) => {
    if (path === "/v2/") return { status: 200 };
    if (path.includes("/manifests/")) {
      return {
        status: 200,
        headers: {
          "Content-Type": "application/vnd.oci.image.manifest.v1+json",
          "Docker-Content-Digest": sha256(manifest),
        },
        body: manifest,
      };
    }
    if (path.endsWith(sha256(config))) return { status: 200, body: config };
    if (path.endsWith(sha256(layer))) return { status: 200, body: layer };
    return {
      status: 404,
      headers: { "Content-Type": "application/json" },
      body: '{"errors":[{"code":"BLOB_UNKNOWN"}]}',
    };
  };
  return { answer, config, layer, manifest, layerDigest: sha256(layer), manifestDigest: sha256(manifest) };
}
