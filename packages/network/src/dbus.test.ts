import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DbusConnection } from "./dbus.ts";

/** A METHOD_RETURN without a body to the call of a serial. */
function returnOf(serial: number): Buffer {
  const bytes = Buffer.from("l\x02\x01\x01........\x08\0\0\0\x05\x01u\0....", "latin1");
  for (const [at, value] of [
    [4, 0],
    [8, 1],
    [20, serial],
  ] as const)
    bytes.writeUInt32LE(value, at);
  return bytes;
}

/** Something at a socket that answers what has a word in it; undefined ends it. */
function openPeer(answers: Readonly<Record<string, string | Buffer | undefined>>) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-dbus-"));
  const socketPath = path.join(directory, "bus");
  const gone = Promise.withResolvers<void>();
  const listener = Bun.listen({
    unix: socketPath,
    socket: {
      data(socket, bytes) {
        for (const [word, answer] of Object.entries(answers)) {
          if (!bytes.includes(word)) continue;
          if (answer === undefined) socket.end();
          else socket.write(answer);
        }
      },
      close: () => gone.resolve(),
    },
  });
  return {
    ...{ socketPath, gone: gone.promise },
    [Symbol.dispose]() {
      listener.stop(true);
      fs.rmSync(directory, { recursive: true });
    },
  };
}

test.each([
  ["says nothing", {}, "the bus doesn't answer"],
  ["refuses", { AUTH: "REJECTED EXTERNAL\r\n" }, "the bus says REJECTED"],
  ["doesn't say hello", { AUTH: "OK 0123\r\n" }, "org.freedesktop.DBus doesn't answer Hello"],
  ["ends", { AUTH: undefined }, "the bus has gone"],
] as const)("DbusConnection.open() gives up a bus that %s, and its connection", async (_, answers, why) => {
  using peer = openPeer(answers);
  const options = { answerMs: 200, gone: () => expect.unreachable("it was never open") };
  await expect(DbusConnection.open(peer.socketPath, options)).rejects.toThrow(why);
  await peer.gone;
});

test("DbusConnection.call() fails at once when the bus has gone, also later", async () => {
  using peer = openPeer({ AUTH: "OK 0123\r\n", Hello: returnOf(1), Change: undefined });
  let timesGone = 0;
  using bus = await DbusConnection.open(peer.socketPath, { gone: () => timesGone++ });
  const call = { destination: "a.b", path: "/a", interface: "a.b", member: "Change", args: [] };
  await expect(bus.call(call)).rejects.toThrow("the bus has gone");
  await expect(bus.call(call)).rejects.toThrow("the bus has gone");
  expect(timesGone).toBe(1);
});
