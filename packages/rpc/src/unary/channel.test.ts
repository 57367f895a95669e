import { afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import http2 from "node:http2";
import os from "node:os";
import path from "node:path";
import { errorCode } from "@longshore/errors";
import { requestHeaders, UnaryChannel } from "./channel.ts";
import { encodeFrame, FrameReader, FrameType, u32 } from "./frame.ts";
import { encodeHeaders } from "./hpack.ts";

const METHOD = "/test.Echo/Call";
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "rpc-unary-"));
const socket = path.join(dir, "s.sock");
const cleanUps: Array<() => unknown> = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  fs.rmSync(socket, { force: true });
});

function channel(): UnaryChannel {
  const made = new UnaryChannel(socket);
  cleanUps.push(() => made.close());
  return made;
}

const call = (
  made: UnaryChannel,
  message: Uint8Array,
  options: { timeoutMs?: number; signal?: AbortSignal } = {},
) => made.call({ path: METHOD, headers: requestHeaders(METHOD, {}), message, timeoutMs: 5000, ...options });

/** A gRPC server by node's HTTP/2 that answers each message with itself. */
async function echoServer(
  settings: http2.Settings = {},
): Promise<{ stop(): Promise<void>; sessions: Set<http2.Http2Session> }> {
  const sessions = new Set<http2.Http2Session>();
  const server = http2.createServer({ settings });
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream) => {
    const parts: Buffer[] = [];
    stream.on("error", () => {});
    stream.on("data", (part: Buffer) => parts.push(part));
    stream.on("end", () => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.concat(parts));
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const stop = async () => {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  cleanUps.push(stop);
  return { stop, sessions };
}

/** A server that is told which bytes to answer to each frame. */
function scripted(
  answer: (frame: { type: number; streamId: number; payload: Buffer }, nth: number) => Buffer | undefined,
): void {
  let connections = 0;
  const server = Bun.listen<{ reader: FrameReader; greeting: number; nth: number }>({
    unix: socket,
    socket: {
      binaryType: "buffer",
      open(peer) {
        peer.data = { reader: new FrameReader(), greeting: 24, nth: connections++ };
        peer.write(encodeFrame(FrameType.settings, 0, 0, Buffer.alloc(0)));
      },
      data(peer, chunk) {
        const rest = chunk.subarray(Math.min(peer.data.greeting, chunk.length));
        peer.data.greeting -= chunk.length - rest.length;
        for (const frame of peer.data.reader.read(rest)) {
          const bytes = answer(frame, peer.data.nth);
          if (bytes) peer.write(bytes);
        }
      },
    },
  });
  cleanUps.push(() => server.stop(true));
}

const trailers = (streamId: number, headers: [string, string][]) =>
  encodeFrame(FrameType.headers, 0x5, streamId, encodeHeaders([[":status", "200"], ...headers]));

describe("UnaryChannel.call()", () => {
  test("carries messages larger than any window, many at once", async () => {
    await echoServer({ initialWindowSize: 1000 });
    const made = channel();
    const messages = [0, 1, 999, 70_000, 300_000].map((bytes, fill) => Buffer.alloc(bytes, fill + 1));
    const answers = await Promise.all(messages.map((message) => call(made, message)));
    for (const [position, message] of messages.entries())
      expect(message.equals(answers[position] ?? Buffer.of(9))).toBe(true);
  });

  test("connects anew after the server has gone, and says so while there is none", async () => {
    const made = channel();
    expect(errorCode(await call(made, Buffer.of(1)).catch((error) => error))).toBe("unavailable");
    const first = await echoServer();
    expect(await call(made, Buffer.of(1))).toEqual(Buffer.of(1));
    await first.stop();
    fs.rmSync(socket, { force: true });
    expect(errorCode(await call(made, Buffer.of(1)).catch((error) => error))).toBe("unavailable");
    await echoServer();
    expect(await call(made, Buffer.of(2))).toEqual(Buffer.of(2));
  });

  test("makes a call again that a leaving server has not looked at", async () => {
    scripted(({ type, streamId }, nth) => {
      if (type !== FrameType.headers) return undefined;
      if (nth === 0) return encodeFrame(FrameType.goAway, 0, 0, u32(0, 0));
      return trailers(streamId, [
        ["grpc-status", "5"],
        ["grpc-message", "no %C3%A4pple"],
      ]);
    });
    const error = await call(channel(), Buffer.of(1)).catch((e: unknown) => e);
    expect(errorCode(error)).toBe("not_found");
    expect((error as Error).message).toBe("no äpple");
  });

  test("fails as unavailable when the server goes before its answer", async () => {
    const { stop, sessions } = await silentServer();
    const pending = call(channel(), Buffer.of(1)).catch((error) => error);
    while (sessions.size === 0) await Bun.sleep(1);
    await stop();
    expect(errorCode(await pending)).toBe("unavailable");
  });

  test("tells the server that nobody waits any more", async () => {
    const { promise: reset, resolve } = Promise.withResolvers<number>();
    scripted(({ type, streamId, payload }) => {
      if (type === FrameType.rstStream) resolve(payload.readUInt32BE(0));
      return type === FrameType.headers ? encodeFrame(FrameType.ping, 0, 0, u32(streamId, 0)) : undefined;
    });
    const late = await call(channel(), Buffer.of(1), { timeoutMs: 20 }).catch((error) => error);
    expect(errorCode(late)).toBe("deadline_exceeded");
    expect(await reset).toBe(8);
  });

  test("takes padding, continued headers and pings in between", async () => {
    scripted(({ type, streamId }) => {
      if (type !== FrameType.headers) return undefined;
      const head = encodeHeaders([[":status", "200"]]);
      return Buffer.concat([
        encodeFrame(FrameType.headers, 0, streamId, head),
        encodeFrame(
          FrameType.continuation,
          0x4,
          streamId,
          encodeHeaders([["content-type", "application/grpc"]]),
        ),
        encodeFrame(FrameType.ping, 0, 0, u32(1, 2)),
        encodeFrame(FrameType.data, 0x8, streamId, Buffer.from([2, 0, 0, 0, 0, 2, 7, 8, 0, 0])),
        encodeFrame(FrameType.headers, 0x5, streamId, encodeHeaders([["grpc-status", "0"]])),
      ]);
    });
    expect(await call(channel(), Buffer.of(1))).toEqual(Buffer.of(7, 8));
  });

  test("ends a connection that isn't HTTP/2", async () => {
    scripted(({ type }) =>
      type === FrameType.headers ? Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n") : undefined,
    );
    expect(errorCode(await call(channel(), Buffer.of(1)).catch((error) => error))).toBe("unavailable");
  });
});

async function silentServer() {
  const sessions = new Set<Bun.Socket<undefined>>();
  const server = Bun.listen<undefined>({
    unix: socket,
    socket: { open: (peer) => void sessions.add(peer), data() {} },
  });
  const stop = async () => server.stop(true);
  cleanUps.push(stop);
  return { stop, sessions };
}
