import { EngineError } from "@longshore/errors";
import {
  AF_UNIX,
  close,
  connectUnix,
  fixedBuffer,
  read,
  SOCK_STREAM,
  socket,
  waitReadable,
  writeAll,
} from "@longshore/syscalls";
import {
  decodeMessage,
  ERROR,
  encodeMessage,
  METHOD_CALL,
  METHOD_RETURN,
  type Message,
  messageSize,
  SIGNAL,
  type Value,
} from "./dbus-message.ts";

/** As long as the original gives systemd for anything. */
const TIMEOUT_MS = 30_000;

export interface Call {
  destination?: string;
  path: string;
  interface: string;
  member: string;
  signature?: string;
  body?: Value[];
}

/** An error that the other side answered with. */
export class DBusError extends Error {
  override readonly name = "DBusError";
  /** `org.freedesktop.systemd1.UnitExists` */
  readonly error: string;

  constructor(error: string, message: string) {
    super(message || error);
    this.error = error;
  }
}

/** A connection to a D-Bus socket. All calls block: runc has nothing else to do meanwhile. */
export class DBus implements Disposable {
  readonly #fd: number;
  #serial = 0;
  #received = Buffer.alloc(0);
  readonly #signals: Message[] = [];

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Connect and say who we are.
   *
   * @param options.bus whether a message bus is at the other end, which wants to be greeted, or systemd itself
   * @throws Errno when nobody listens there, EngineError `permission_denied` when we aren't let in
   */
  static connect(path: string, { bus }: { bus: boolean }): DBus {
    const connection = new DBus(socket(AF_UNIX, SOCK_STREAM));
    try {
      connectUnix(connection.#fd, path);
      connection.#authenticate();
      if (bus) {
        connection.call({
          destination: "org.freedesktop.DBus",
          path: "/org/freedesktop/DBus",
          interface: "org.freedesktop.DBus",
          member: "Hello",
        });
      }
    } catch (error) {
      connection[Symbol.dispose]();
      throw error;
    }
    return connection;
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }

  #authenticate(): void {
    // The kernel tells the other side who we are; the number, as text in hexadecimal digits, must agree.
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString("hex");
    // All at once, as systemd's own clients do: a first message that arrives together with BEGIN stays unread in systemd until more comes.
    writeAll(this.#fd, `\0AUTH EXTERNAL ${uid}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n`);
    const answer = this.#line();
    if (!answer.startsWith("OK ")) {
      throw new EngineError("permission_denied", `D-Bus: not let in: ${answer}`);
    }
    // Whether descriptors may be sent, which is none of our business; but it is answered after BEGIN was read.
    this.#line();
  }

  #line(): string {
    const deadline = Date.now() + TIMEOUT_MS;
    for (;;) {
      const end = this.#received.indexOf("\r\n");
      if (end >= 0) {
        const line = this.#received.toString("utf8", 0, end);
        this.#received = this.#received.subarray(end + 2);
        return line;
      }
      this.#receive(deadline);
    }
  }

  #receive(deadline: number): void {
    if (!waitReadable(this.#fd, Math.max(0, deadline - Date.now()))) {
      throw new EngineError("deadline_exceeded", "D-Bus: no answer in time");
    }
    const buffer = fixedBuffer(65536);
    const length = read(this.#fd, buffer);
    if (length === 0) throw new EngineError("unavailable", "D-Bus: the connection was closed");
    this.#received = Buffer.concat([this.#received, buffer.subarray(0, length)]);
  }

  #next(deadline: number): Message {
    for (;;) {
      const size = messageSize(this.#received);
      if (size !== undefined && this.#received.length >= size) {
        const message = decodeMessage(this.#received.subarray(0, size));
        this.#received = this.#received.subarray(size);
        return message;
      }
      this.#receive(deadline);
    }
  }

  /** Call a method and wait for what it returns. @throws DBusError when it answers with an error */
  call({ signature = "", body = [], ...call }: Call): Value[] {
    const serial = ++this.#serial;
    writeAll(this.#fd, encodeMessage({ type: METHOD_CALL, serial, signature, body, ...call }));
    const deadline = Date.now() + TIMEOUT_MS;
    for (;;) {
      const message = this.#next(deadline);
      if (message.type === SIGNAL) this.#signals.push(message);
      if (message.replySerial !== serial) continue;
      if (message.type === METHOD_RETURN) return message.body;
      if (message.type === ERROR) throw new DBusError(message.errorName ?? "", String(message.body[0] ?? ""));
    }
  }

  /** The first signal that fits, also one that came during a call. */
  signal(fits: (message: Message) => boolean): Message {
    const deadline = Date.now() + TIMEOUT_MS;
    for (;;) {
      const message = this.#signals.shift() ?? this.#next(deadline);
      if (message.type === SIGNAL && fits(message)) return message;
    }
  }
}
