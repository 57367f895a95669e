/** The system's bus. */
export const SYSTEM_BUS = "/run/dbus/system_bus_socket";

const [METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL] = [1, 2, 3, 4];
/** Who isn't there is not to be started. */
const NO_AUTO_START = 2;
const FIELD = { path: 1, interface: 2, member: 3, error: 4, replySerial: 5, destination: 6, signature: 8 };
const FIXED_BYTES = 16;
/** Who is that busy isn't waited for: firewalld, when it starts, takes some seconds. */
const ANSWER_MS = 20_000;
const BUS = {
  destination: "org.freedesktop.DBus",
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
};

export interface DbusCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** All of them strings. */
  readonly args: readonly string[];
}

/** What the other side answered with: its name for the error, and its words. */
export class DbusError extends Error {
  override readonly name = "DbusError";
  readonly error: string;
  constructor(error: string, message: string) {
    super(`${error}: ${message}`);
    this.error = error;
  }
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

export interface DbusOptions {
  /** Told of each signal by its member. */
  readonly told?: (member: string) => void;
  /** Told once when the bus, which had answered, has gone. */
  readonly gone?: () => void;
  /** How long the bus, or whom is called, may take for an answer. */
  readonly answerMs?: number;
}

/** A connection to a message bus, for calls with strings; what they return is not told (D-Bus specification 0.38). */
export class DbusConnection implements Disposable {
  readonly #socket: Bun.Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #answerMs: number;
  #serial = 0;
  /** Why there is no bus any more. */
  #ended: Error | undefined;

  private constructor(socket: Bun.Socket, answerMs: number) {
    this.#socket = socket;
    this.#answerMs = answerMs;
  }

  /** @throws Error when there is no bus, or it doesn't let us, or doesn't answer */
  static async open(
    socketPath: string,
    { told = () => {}, gone = () => {}, answerMs = ANSWER_MS }: DbusOptions = {},
  ): Promise<DbusConnection> {
    const hello = Promise.withResolvers<void>();
    let connection: DbusConnection | undefined;
    let isIn = false;
    let rest = Buffer.alloc(0);
    let isOpen = false;
    const end = (error: Error): void => {
      hello.reject(error);
      if (connection) connection.#end(error);
      if (isOpen) gone();
      isOpen = false;
    };
    const socket = await Bun.connect({
      unix: socketPath,
      socket: {
        data(own, bytes) {
          rest = Buffer.concat([rest, bytes]);
          if (!isIn) {
            if (!rest.includes("\r\n")) return;
            if (!rest.toString("latin1").startsWith("OK ")) return end(new Error(`the bus says ${rest}`));
            isIn = true;
            rest = Buffer.alloc(0);
            own.write("BEGIN\r\n");
            hello.resolve();
            return;
          }
          for (let length = lengthOf(rest); length <= rest.length; length = lengthOf(rest)) {
            if (connection) connection.#take(rest.subarray(0, length), told);
            rest = rest.subarray(length);
          }
        },
        close: () => end(new Error("the bus has gone")),
        error: (_, error) => end(error),
      },
    });
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString("hex");
    const timer = setTimeout(() => end(new Error("the bus doesn't answer")), answerMs);
    try {
      socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
      await hello.promise;
      clearTimeout(timer);
      connection = new DbusConnection(socket, answerMs);
      await connection.call({ ...BUS, member: "Hello", args: [] });
      isOpen = true;
      return connection;
    } catch (error) {
      socket.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** @throws DbusError what the other side answers; Error when the bus is gone, or there is no answer in time */
  async call(call: DbusCall): Promise<void> {
    if (this.#ended) throw this.#ended;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const serial = ++this.#serial;
    const late = () => reject(new Error(`${call.destination} doesn't answer ${call.member}`));
    const timer = setTimeout(late, this.#answerMs);
    this.#waiting.set(serial, { resolve, reject });
    try {
      this.#socket.write(writeCall(call, serial));
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(serial);
    }
  }

  /** Be told of signals that fit a rule. */
  match(rule: string): Promise<void> {
    return this.call({ ...BUS, member: "AddMatch", args: [rule] });
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }

  #take(bytes: Buffer, told: (member: string) => void): void {
    const { type, member, error, replySerial, text } = readMessage(bytes);
    if (type === SIGNAL) told(member);
    const waiting = this.#waiting.get(replySerial);
    if (!waiting) return;
    if (type === METHOD_RETURN) waiting.resolve();
    else if (type === ERROR) waiting.reject(new DbusError(error, text));
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

const align = (at: number, to: number): number => (at + to - 1) & -to;

function writeCall({ args, ...call }: DbusCall, serial: number): Buffer {
  const body = Buffer.alloc(args.reduce((at, text) => align(at, 4) + 5 + Buffer.byteLength(text), 0));
  args.reduce((at, text) => putString(body, align(at, 4), text), 0);
  const header = Buffer.alloc(1024);
  header.write("l");
  header.set([METHOD_CALL, NO_AUTO_START, 1], 1);
  header.writeUInt32LE(body.length, 4);
  header.writeUInt32LE(serial, 8);
  let at = FIXED_BYTES;
  for (const [field, kind] of [
    ["path", "o"],
    ["interface", "s"],
    ["member", "s"],
    ["destination", "s"],
  ] as const) {
    at = align(at, 8);
    header.set([FIELD[field], 1, kind.charCodeAt(0), 0], at);
    at = putString(header, at + 4, call[field]);
  }
  if (args.length > 0) {
    at = align(at, 8);
    header.set([FIELD.signature, 1, "g".charCodeAt(0), 0, args.length], at);
    header.write("s".repeat(args.length), at + 5);
    at += 5 + args.length + 1;
  }
  header.writeUInt32LE(at - FIXED_BYTES, 12);
  return Buffer.concat([header.subarray(0, align(at, 8)), body]);
}

/** @returns where it ends, its last NUL included */
function putString(into: Buffer, at: number, text: string): number {
  const length = into.write(text, at + 4);
  into.writeUInt32LE(length, at);
  return at + 4 + length + 1;
}

/** Of the message that begins the bytes; more than there are when that can't be told. */
function lengthOf(bytes: Buffer): number {
  if (bytes.length < FIXED_BYTES) return Number.POSITIVE_INFINITY;
  return align(FIXED_BYTES + uint32(bytes, 12), 8) + uint32(bytes, 4);
}

/** In the sender's order. */
function uint32(bytes: Buffer, at: number): number {
  return bytes[0] === "l".charCodeAt(0) ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
}

function readMessage(bytes: Buffer) {
  const fields = new Map<number, string | number>();
  const end = FIXED_BYTES + uint32(bytes, 12);
  for (let at = FIXED_BYTES; at < end; at = align(at, 8)) {
    const [code = 0, , kind = 0] = bytes.subarray(at, at + 3);
    at += 4;
    if (String.fromCharCode(kind) === "u") {
      fields.set(code, uint32(bytes, at));
      at += 4;
      continue;
    }
    const isSignature = String.fromCharCode(kind) === "g";
    const length = isSignature ? (bytes[at] ?? 0) : uint32(bytes, at);
    const start = at + (isSignature ? 1 : 4);
    fields.set(code, bytes.toString("utf8", start, start + length));
    at = start + length + 1;
  }
  const body = bytes.subarray(align(end, 8));
  const hasText = String(fields.get(FIELD.signature) ?? "").startsWith("s");
  return {
    type: bytes[1] ?? 0,
    member: String(fields.get(FIELD.member) ?? ""),
    error: String(fields.get(FIELD.error) ?? ""),
    replySerial: Number(fields.get(FIELD.replySerial) ?? 0),
    text: hasText ? body.toString("utf8", 4, 4 + textLength(bytes, body)) : "",
  };
}

function textLength(message: Buffer, body: Buffer): number {
  return message[0] === "l".charCodeAt(0) ? body.readUInt32LE(0) : body.readUInt32BE(0);
}
