import { randomBytes } from "node:crypto";
import { FrameReader, frame } from "./framing.ts";
import { FLAG, type Message, type Question, readMessage, writeMessage } from "./message.ts";
import { addressBytes } from "./name.ts";

/** What we take by UDP: so much goes through every network unbroken. */
export const OUR_UDP_BYTES = 1232;
const DNS_PORT = 53;

export interface Endpoint {
  readonly hostname: string;
  readonly port: number;
}

/** `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`; undefined for what is no address. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^\[(.+)\](?::(\d+))?$/.exec(text) ?? /^([^:]+)(?::(\d+))?$/.exec(text) ?? [text, text];
  const hostname = match[1] ?? "";
  const port = match[2] === undefined ? DNS_PORT : Number(match[2]);
  // An IPv6 address may have a zone.
  if (!addressBytes(hostname.replace(/%.*$/, "")) || port < 1 || port > 65_535) return undefined;
  return { hostname, port };
}

/** What is asked of a server. */
export interface Inquiry {
  readonly question: Question;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
  /** Servers from before EDNS don't understand it. */
  readonly withoutEdns?: boolean;
}

interface Sent {
  readonly id: number;
  readonly bytes: Uint8Array;
}

function writeInquiry({ question, dnssecOk, checkingDisabled, withoutEdns }: Inquiry): Sent {
  const id = randomBytes(2).readUInt16BE();
  const flags = FLAG.RECURSION_DESIRED | (checkingDisabled ? FLAG.CHECKING_DISABLED : 0);
  const { bytes } = writeMessage({
    ...{ id, flags, rcode: 0, questions: [question], answers: [], authorities: [], additionals: [] },
    ...(withoutEdns !== true && { edns: { udpBytes: OUR_UDP_BYTES, version: 0, dnssecOk } }),
  });
  return { id, bytes };
}

/** The answer to what was sent, if these bytes are it. */
function answerTo({ id }: Sent, { question }: Inquiry, bytes: Uint8Array): Message | undefined {
  const message = readMessage(bytes);
  const [asked, ...others] = message?.questions ?? [];
  if (!message || message.id !== id || (message.flags & FLAG.RESPONSE) === 0) return undefined;
  // A server that doesn't understand may say so without the question.
  if (!asked) return message.rcode === 0 ? undefined : message;
  const same = asked.name.toLowerCase() === question.name.toLowerCase();
  return same && asked.type === question.type && asked.class === question.class && others.length === 0
    ? message
    : undefined;
}

/**
 * Ask a server by UDP, from a port and with an id that nobody can guess. Undefined when the server can't be reached or `signal`
 * is aborted; whatever else comes is waited past.
 */
export async function askByUdp(
  server: Endpoint,
  inquiry: Inquiry,
  signal: AbortSignal,
): Promise<Message | undefined> {
  if (signal.aborted) return undefined;
  const sent = writeInquiry(inquiry);
  const { promise, resolve } = Promise.withResolvers<Message | undefined>();
  const give = () => resolve(undefined);
  let socket: Bun.udp.ConnectedSocket<"buffer">;
  try {
    socket = await Bun.udpSocket({
      connect: server,
      socket: {
        data(_, bytes) {
          const answer = answerTo(sent, inquiry, bytes);
          if (answer) resolve(answer);
        },
        // The other host says that nobody listens there, or that it can't be reached.
        error: give,
      },
    });
  } catch {
    return undefined; // no route to it, no such address family
  }
  signal.addEventListener("abort", give);
  try {
    if (signal.aborted) return undefined;
    socket.send(sent.bytes);
    return await promise;
  } catch {
    return undefined; // refused while sending
  } finally {
    signal.removeEventListener("abort", give);
    socket.close();
  }
}

/** Ask a server by TCP. Undefined when it can't be reached, ends the connection, says something else, or `signal` is aborted. */
export async function askByTcp(
  server: Endpoint,
  inquiry: Inquiry,
  signal: AbortSignal,
): Promise<Message | undefined> {
  if (signal.aborted) return undefined;
  const sent = writeInquiry(inquiry);
  const { promise, resolve } = Promise.withResolvers<Message | undefined>();
  const give = () => resolve(undefined);
  const frames = new FrameReader();
  const connecting = Bun.connect({
    ...server,
    socket: {
      open: (socket) => void socket.write(frame(sent.bytes)),
      data(_, bytes) {
        for (const message of frames.push(bytes)) resolve(answerTo(sent, inquiry, message));
      },
      close: give,
      error: give,
      connectError: give,
    },
  });
  // Whenever it comes to be connected, it is closed.
  const closing = connecting.then(
    (socket) => promise.finally(() => socket.terminate()),
    () => give(),
  );
  signal.addEventListener("abort", give);
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", give);
    void closing;
  }
}
