import { expect, test } from "bun:test";
import fs from "node:fs";
import { encodeFrame, STDIN, StdioFrameDecoder } from "@longshore/stdio";
import { eventually, tempDir } from "@longshore/testkit";
import { fifoStdio } from "./fifo-stdio.ts";

/** `cat` behind FIFOs that it opens as late as a shim does, when all of its input has long been sent. */
async function cat(directory: string, name: string, input: Buffer[]): Promise<string> {
  await using stdio = fifoStdio({
    ...{ directory, name, stdin: true, terminal: false, log: undefined },
    closeIo: async () => {},
    onLogError: () => {},
  });
  const client = await stdio.connect();
  let out = "";
  const decoder = new StdioFrameDecoder({
    data: (_, bytes) => {
      out += Buffer.from(bytes).toString();
    },
    empty() {},
  });
  client.on("data", (chunk: Buffer) => decoder.push(chunk));
  for (const chunk of input) client.write(encodeFrame(STDIN, chunk));
  client.write(encodeFrame(STDIN, Buffer.alloc(0)));
  const ended = new Promise((resolve) => client.once("end", resolve));
  const { stdin, stdout, stderr } = stdio.uris;
  const opened = `${directory}/${name}-opened`;
  const child = Bun.spawn(["sh", "-c", `exec <${stdin} >${stdout} 2>${stderr}; : >${opened}; exec cat`]);
  await eventually(() => fs.existsSync(opened));
  stdio.started();
  expect(await child.exited).toBe(0);
  await ended;
  return out;
}

test("fifoStdio(): the end of the input is the end for the process at once, whatever was written before", async () => {
  using dir = tempDir();
  const started = performance.now();
  for (let round = 0; round < 20; round++)
    expect(await cat(dir.path, `r${round}`, [Buffer.from("a\n"), Buffer.from("b\n")])).toBe("a\nb\n");
  expect(performance.now() - started).toBeLessThan(10_000);
});

test("fifoStdio(): input that is more than a pipe holds comes in whole", async () => {
  using dir = tempDir();
  const text = "0123456789\n".repeat(100_000);
  expect((await cat(dir.path, "big", [Buffer.from(text)])) === text).toBe(true);
});
