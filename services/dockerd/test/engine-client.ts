import net from "node:net";
import path from "node:path";
import { busyboxImage, findStaticBusybox, serveImages } from "@longshore/suite";
import { type Engine, type EngineOptions, startEngine } from "@longshore/testkit";

export const binDir = path.resolve(
  process.env.LONGSHORE_BIN_DIR ?? path.join(import.meta.dir, "../../../dist/bin"),
);

/** The image of these tests: the machine's static busybox. */
export interface TestEngine extends AsyncDisposable {
  engine: Engine;
  image: string;
  api: ApiClient;
}

export async function openEngine(options: Partial<EngineOptions> = {}): Promise<TestEngine> {
  const busybox = findStaticBusybox();
  if (!busybox) throw new Error("this machine has no static busybox (package busybox-static)");
  await using undo = new AsyncDisposableStack();
  const images = undo.use(await serveImages({ images: { "test/busybox:1": busyboxImage(busybox) } }));
  const cli = { name: "ours", path: path.join(binDir, "docker"), ours: true };
  const engine = undo.use(await startEngine({ binDir, cli, without: ["nats-server"], ...options }));
  const api = new ApiClient(engine.suite.dockerHost.replace("unix://", ""));
  const image = `${images.host}/test/busybox:1`;
  const pulled = await api.call("POST", `/images/create?fromImage=${image}`);
  if (!pulled.text.includes("Downloaded newer image")) throw new Error(`pull: ${pulled.text}`);
  engine.mark();
  const resources = undo.move();
  return { engine, image, api, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

export interface Answer {
  status: number;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers freely
  json: any;
  headers: Headers;
}

/** The Engine API as a client without any knowledge of it. */
export class ApiClient {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  async call(method: string, target: string, body?: unknown): Promise<Answer> {
    const raw = typeof body === "string";
    const response = await fetch(`http://docker${target}`, {
      unix: this.socketPath,
      method,
      ...(body !== undefined && {
        body: raw ? body : JSON.stringify(body),
        headers: { "Content-Type": "application/json" },
      }),
    });
    const text = await response.text();
    return { status: response.status, text, headers: response.headers, json: tryJson(text) };
  }

  /** Make a container without a network; its id. */
  async create(image: string, cmd: string[], more: object = {}, name = ""): Promise<string> {
    const query = name === "" ? "" : `?name=${name}`;
    const body = { Image: image, Cmd: cmd, HostConfig: { NetworkMode: "none" }, ...more };
    const { status, json, text } = await this.call("POST", `/containers/create${query}`, body);
    if (status !== 201) throw new Error(`create: ${status} ${text}`);
    return json.Id;
  }

  async run(image: string, cmd: string[], more: object = {}, name = ""): Promise<string> {
    const id = await this.create(image, cmd, more, name);
    const { status, text } = await this.call("POST", `/containers/${id}/start`);
    if (status !== 204) throw new Error(`start: ${status} ${text}`);
    return id;
  }

  /** Take a connection over; resolves once the answer's head is there. */
  hijack(target: string, body?: unknown): Promise<Hijacked> {
    return Hijacked.open(this.socketPath, target, body);
  }
}

/** A hijacked connection: all that has come so far, and its end. */
export class Hijacked {
  readonly socket: net.Socket;
  readonly head: string;
  readonly ended: Promise<Buffer>;

  private constructor(socket: net.Socket, head: string, rest: Buffer) {
    this.socket = socket;
    this.head = head;
    const chunks = [rest];
    socket.on("data", (chunk) => chunks.push(chunk));
    this.ended = new Promise((resolve) => socket.once("close", () => resolve(Buffer.concat(chunks))));
  }

  static open(socketPath: string, target: string, body?: unknown): Promise<Hijacked> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const socket = net.connect({ path: socketPath, allowHalfOpen: true });
    socket.write(
      `POST ${target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    );
    return new Promise((resolve, reject) => {
      let seen = Buffer.alloc(0);
      const take = (chunk: Buffer) => {
        seen = Buffer.concat([seen, chunk]);
        const end = seen.indexOf("\r\n\r\n");
        if (end < 0) return;
        socket.off("data", take);
        resolve(new Hijacked(socket, seen.toString("latin1", 0, end), seen.subarray(end + 4)));
      };
      socket.on("data", take);
      socket.once("error", reject);
      socket.once("end", () => socket.end());
    });
  }
}

/** A multiplexed stream's stdout and stderr. */
export function demultiplex(bytes: Buffer): { stdout: string; stderr: string } {
  const out = ["", "", ""];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 4);
    out[bytes[at] ?? 0] += bytes.toString("utf8", at + 8, at + 8 + length);
    at += 8 + length;
  }
  return { stdout: out[1] ?? "", stderr: out[2] ?? "" };
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
