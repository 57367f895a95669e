import { inSandbox } from "./lab.ts";

const HEADER_BYTES = 12;
const TYPE_A = 1;
const CLASS_IN = 1;
/** Of an answer whose name is a reference to the question's: that, type, class, TTL, length, four bytes of address. */
const ANSWER_BYTES = 16;

/** Asks the resolver of one sandbox, as its processes would. */
export interface Client extends Disposable {
  /** The IPv4 addresses of a name, sorted; undefined when there was no answer in time. */
  lookUp(name: string, timeoutMs?: number): Promise<string[] | undefined>;
}

/** A client in the network namespace at a path. */
export async function openClient(netnsPath: string): Promise<Client> {
  const waiting = new Map<number, (addresses: string[]) => void>();
  let last = 0;
  const socket = await inSandbox(netnsPath, () =>
    Bun.udpSocket({
      connect: { hostname: "127.0.0.11", port: 53 },
      socket: {
        data(_, answer) {
          const id = answer.readUInt16BE(0);
          waiting.get(id)?.(addressesOf(answer));
          waiting.delete(id);
        },
        error() {},
      },
    }),
  );
  return {
    lookUp(name, timeoutMs = 20_000) {
      last = (last + 1) % 65_536;
      const id = last;
      const { promise, resolve } = Promise.withResolvers<string[] | undefined>();
      const timer = setTimeout(() => resolve(undefined), timeoutMs);
      waiting.set(id, resolve);
      socket.send(question(id, name));
      return promise.finally(() => clearTimeout(timer));
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

function question(id: number, name: string): Buffer {
  const labels = name.split(".").map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`));
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2); // recursion is desired
  header.writeUInt16BE(1, 4);
  return Buffer.concat([header, ...labels, Uint8Array.of(0, 0, TYPE_A, 0, CLASS_IN)]);
}

function addressesOf(answer: Buffer): string[] {
  const count = answer.readUInt16BE(6);
  const start = answer.length - count * ANSWER_BYTES;
  return Array.from({ length: count }, (_, at) => {
    const end = start + (at + 1) * ANSWER_BYTES;
    return answer.subarray(end - 4, end).join(".");
  }).sort();
}
