import { setsockopt } from "@longshore/syscalls";
import { FrameReader, frame } from "../src/framing.ts";
import {
  CLASS_IN,
  FLAG,
  type Message,
  nameBytes,
  type Question,
  type ResourceRecord,
  readMessage,
  TYPE,
  writeMessage,
} from "../src/message.ts";
import { addressBytes } from "../src/name.ts";
import type { Transport } from "../src/resolver.ts";

export interface Asked {
  readonly message: Message;
  readonly question: Question;
  readonly transport: Transport;
  /** The port that it came from. */
  readonly port: number;
}

/** A name server of the tests; it answers with what `reply` gives, or not at all. */
export interface TestUpstream extends Disposable {
  readonly address: string;
  readonly asked: Asked[];
}

export type Reply = Partial<Message> | Uint8Array | undefined;

export async function openUpstream(reply: (asked: Asked) => Reply | Promise<Reply>): Promise<TestUpstream> {
  const asked: Asked[] = [];
  const answerTo = async (
    bytes: Uint8Array,
    transport: Transport,
    port: number,
  ): Promise<Uint8Array | undefined> => {
    const message = readMessage(bytes);
    const [question] = message?.questions ?? [];
    if (!message || !question) return undefined;
    const one = { message, question, transport, port };
    asked.push(one);
    const given = await reply(one);
    if (!given || given instanceof Uint8Array) return given;
    const { id, questions } = message;
    const flags = FLAG.RESPONSE | FLAG.RECURSION_AVAILABLE;
    return writeMessage({
      ...{ id, questions, flags, rcode: 0, answers: [], authorities: [], additionals: [] },
      ...given,
    }).bytes;
  };
  const tcp = Bun.listen<FrameReader>({
    ...{ hostname: "127.0.0.1", port: 0 },
    socket: {
      open(socket) {
        socket.data = new FrameReader();
      },
      data: (socket, bytes) => {
        for (const query of socket.data.push(bytes))
          void answerTo(Uint8Array.from(query), "tcp", socket.remotePort).then(
            (answer) => answer && socket.write(frame(answer)),
          );
      },
    },
  });
  const udp = await Bun.udpSocket({
    ...{ hostname: "127.0.0.1", port: tcp.port },
    socket: {
      data: (socket, bytes, port, from) =>
        void answerTo(bytes, "udp", port).then(
          (answer) => answer && !socket.closed && socket.send(answer, port, from),
        ),
    },
  });
  growReceiveBuffer(udp);
  return {
    ...{ address: `127.0.0.1:${tcp.port}`, asked },
    [Symbol.dispose]() {
      udp.close();
      tcp.stop(true);
    },
  };
}

/** Nothing that comes at once is lost for want of room. */
export function growReceiveBuffer(socket: object): void {
  const SO_RCVBUFFORCE = 33;
  setsockopt((socket as { fd: number }).fd, 1, SO_RCVBUFFORCE, 8 * 1024 * 1024);
}

export const record = (name: string, type: number, data: Uint8Array, ttl = 60): ResourceRecord => ({
  ...{ name, type, class: CLASS_IN, ttl, data },
});
export const a = (name: string, address: string, ttl = 60): ResourceRecord =>
  record(name, TYPE.A, addressBytes(address) ?? new Uint8Array(), ttl);
export const soa = (name: string, minimum: number): ResourceRecord => {
  const numbers = Buffer.alloc(20);
  numbers.writeUInt32BE(minimum, 16);
  const server = nameBytes(`ns.${name}`) ?? new Uint8Array();
  return record(name, TYPE.SOA, Buffer.concat([server, server, numbers]));
};

export function query(name: string, type: number = TYPE.A, rest: Partial<Message> = {}): Buffer {
  return writeMessage({
    ...{ id: 4711, flags: FLAG.RECURSION_DESIRED, rcode: 0, answers: [], authorities: [], additionals: [] },
    questions: [{ name, type, class: CLASS_IN }],
    ...rest,
  }).bytes;
}

/** The addresses, or else the data in hexadecimal, of a message's answers. */
export const answersOf = (message: Message | undefined): string[] | undefined =>
  message?.answers.map(({ type, data }) =>
    type === TYPE.A ? data.join(".") : Buffer.from(data).toString("hex"),
  );

/** Ask a server by UDP from a socket of its own. */
export function askUdp(
  hostname: string,
  port: number,
  bytes: Uint8Array,
  timeoutMs = 5000,
): Promise<Message | undefined> {
  const { promise, resolve } = Promise.withResolvers<Message | undefined>();
  const timer = setTimeout(() => resolve(undefined), timeoutMs);
  // Made at once, in the network namespace of the caller.
  const opening = Bun.udpSocket({
    connect: { hostname, port },
    socket: { data: (_, data) => resolve(readMessage(data)), error: () => resolve(undefined) },
  });
  return opening.then(async (socket) => {
    socket.send(bytes);
    const answer = await promise;
    clearTimeout(timer);
    socket.close();
    return answer;
  });
}

/** Send queries over one TCP connection, and all that comes back until there are as many answers or it ends. */
export function askTcp(
  hostname: string,
  port: number,
  queries: readonly Uint8Array[],
  timeoutMs = 5000,
): Promise<Message[]> {
  const { promise, resolve } = Promise.withResolvers<Message[]>();
  const answers: Message[] = [];
  const frames = new FrameReader();
  const end = () => resolve(answers);
  const timer = setTimeout(end, timeoutMs);
  const connecting = Bun.connect({
    ...{ hostname, port },
    socket: {
      open: (socket) => void socket.write(Buffer.concat(queries.map(frame))),
      data(_, bytes) {
        for (const answer of frames.push(bytes)) {
          const message = readMessage(answer);
          if (message) answers.push(message);
        }
        if (answers.length >= queries.length) end();
      },
      close: end,
      error: end,
    },
  });
  connecting.catch(end);
  return promise.finally(async () => {
    clearTimeout(timer);
    await connecting.then((socket) => socket.terminate()).catch(() => {});
  });
}
