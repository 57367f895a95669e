import net from "node:net";

const HEADER_BYTES = 8;

/** A connection attached to a container by the Engine API: what it writes, and what is sent to it. Not for one with a terminal. */
export class Attached implements Disposable {
  /** Resolves when the container's output has ended. */
  readonly ended: Promise<void>;
  readonly #socket: net.Socket;
  readonly #chunks: Buffer[] = [];

  private constructor(socket: net.Socket, first: Buffer) {
    this.#socket = socket;
    if (first.length > 0) this.#chunks.push(first);
    socket.on("data", (chunk) => this.#chunks.push(chunk));
    this.ended = new Promise((resolve) => {
      socket.once("end", resolve);
      socket.once("close", () => resolve());
    });
  }

  /** Resolves with the answer's head; a container that doesn't run is attached to when it starts. */
  static async open(socketPath: string, container: string): Promise<Attached> {
    const socket = net.connect({ path: socketPath, allowHalfOpen: true });
    const query = "stream=1&stdin=1&stdout=1&stderr=1";
    socket.write(
      `POST /v1.41/containers/${container}/attach?${query} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`,
    );
    const rest = await readHead(socket);
    return new Attached(socket, rest);
  }

  write(text: string): void {
    this.#socket.write(text);
  }

  /** Take nothing more from the engine. */
  stopReading(): void {
    this.#socket.pause();
  }

  /** Both streams as one text, in the order in which they came. */
  text(): string {
    const bytes = Buffer.concat(this.#chunks);
    const texts: string[] = [];
    for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
      const length = bytes.readUInt32BE(at + 4);
      texts.push(bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length).toString());
      at += HEADER_BYTES + length;
    }
    return texts.join("");
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** Read an answer's head. @returns what came behind it */
async function readHead(socket: net.Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let bytes = Buffer.alloc(0);
    const take = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      socket.off("data", take);
      const head = bytes.subarray(0, end).toString();
      if (head.startsWith("HTTP/1.1 101")) resolve(bytes.subarray(end + 4));
      else reject(new Error(`attach: ${head.split("\r\n")[0]} ${bytes.subarray(end + 4)}`));
    };
    socket.on("data", take);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("attach: the engine closed the connection")));
  });
}
