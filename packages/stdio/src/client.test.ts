import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { connectStdio } from "./client.ts";
import { encodeFrame, StdioFrameDecoder } from "./frame.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-stdio-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

test("connectStdio() sends input in order, closes stdin and sees the end of the output", async () => {
  const socketPath = path.join(dir, "s");
  let input = "";
  const listener = Bun.listen<StdioFrameDecoder>({
    unix: socketPath,
    socket: {
      open(socket) {
        socket.data = new StdioFrameDecoder({
          data: (_, piece) => {
            input += Buffer.from(piece).toString();
          },
          empty: () => {
            socket.write(
              Buffer.concat([encodeFrame(1, Buffer.from("bye")), encodeFrame(2, Buffer.from("!"))]),
            );
            socket.end();
          },
        });
      },
      data: (socket, chunk) => socket.data.push(chunk),
    },
  });
  const output: [number, string][] = [];
  const end = Promise.withResolvers<void>();
  const client = await connectStdio(socketPath, {
    data: (stream, bytes) => output.push([stream, Buffer.from(bytes).toString()]),
    end: end.resolve,
  });
  const big = "x".repeat(1 << 20);
  await Promise.all([client.write(Buffer.from("a")), client.write(Buffer.from(big)), client.closeStdin()]);
  await end.promise;
  expect(input === `a${big}`).toBe(true);
  expect(output).toEqual([
    [1, "bye"],
    [2, "!"],
  ]);
  listener.stop(true);
});

test("connectStdio() fails as not_found where nothing listens", async () => {
  const error = await connectStdio(path.join(dir, "none"), { data() {}, end() {} }).catch(
    (e: { code: string }) => e,
  );
  expect(error).toMatchObject({ code: "not_found" });
});
