import { expect, test } from "bun:test";
import { Datagrams } from "./datagrams.ts";
import { AF_INET, bind, boundAddress, close, connect, SOCK_DGRAM, socket, socketpair } from "./index.ts";

const LOOPBACK = Uint8Array.of(AF_INET, 0, 0, 0, 127, 0, 0, 1, ...new Uint8Array(8));

/** A socket of UDP on loopback, connected to a peer if there is one. */
function open(peer?: Uint8Array) {
  const fd = socket(AF_INET, SOCK_DGRAM);
  bind(fd, LOOPBACK);
  if (peer) connect(fd, peer);
  return { fd, address: boundAddress(fd, 16), [Symbol.dispose]: () => close(fd) };
}

const textAt = ({ bytes, size }: Datagrams, place: number, length: number) =>
  Buffer.from(bytes.subarray(place * size, place * size + length)).toString();

test("Datagrams takes what has come and sends each answer to where its question came from", () => {
  using server = open();
  using one = open(server.address);
  using other = open(server.address);
  const mine = new Datagrams({ count: 8, size: 64, connected: true });
  const ask = (fd: number, texts: readonly string[]) => {
    for (const [place, text] of texts.entries()) {
      Buffer.from(mine.bytes.buffer, mine.bytes.byteOffset).write(text, place * mine.size);
      mine.queue(place, text.length);
    }
    expect(mine.send(fd)).toEqual([]);
  };
  ask(one.fd, ["one 1", "one 2", "one 3"]);
  ask(other.fd, ["other 1", "x".repeat(64)]);

  const theirs = new Datagrams({ count: 4, size: 32 });
  expect(theirs.receive(server.fd)).toBe(4);
  expect([0, 1, 2, 3].map((place) => textAt(theirs, place, theirs.lengthAt(place)))).toEqual([
    ...["one 1", "one 2", "one 3"],
    "other 1",
  ]);
  // Not all, and not in the order of their places.
  for (const place of [3, 0, 2]) {
    theirs.bytes[place * theirs.size] = "A".charCodeAt(0);
    theirs.queue(place, 3);
  }
  expect(theirs.send(server.fd)).toEqual([]);
  // There was no room for all of the longer one.
  expect(theirs.receive(server.fd)).toBe(1);
  expect(theirs.lengthAt(0)).toBe(32);
  expect(theirs.receive(server.fd)).toBe(0);

  const heard = (fd: number) => {
    const count = mine.receive(fd);
    return Array.from({ length: count }, (_, place) => textAt(mine, place, mine.lengthAt(place)));
  };
  expect(heard(one.fd)).toEqual(["Ane", "Ane"]);
  expect(heard(other.fd)).toEqual(["Ath"]);
});

test("Datagrams sends past what can't be sent", () => {
  using server = open();
  const messages = new Datagrams({ count: 4, size: 65_536 });
  const from = [open(server.address), open(server.address), open(server.address)];
  const mine = new Datagrams({ count: 1, size: 64, connected: true });
  for (const { fd } of from) {
    mine.queue(0, 1);
    mine.send(fd);
  }
  expect(messages.receive(server.fd)).toBe(3);
  messages.queue(0, 10);
  // Longer than any datagram.
  messages.queue(1, 65_536);
  messages.queue(2, 10);
  expect(messages.send(server.fd)).toEqual([]);
  expect(from.map(({ fd }) => mine.receive(fd))).toEqual([1, 0, 1]);
  for (const one of from) one[Symbol.dispose]();
});

test("Datagrams says what the kernel doesn't take for now", () => {
  const [near, far] = socketpair(SOCK_DGRAM);
  const messages = new Datagrams({ count: 4, size: 64, connected: true });
  const fill = () => {
    for (const place of [2, 0, 1, 3]) messages.queue(place, 8);
    return messages.send(near);
  };
  let left = fill();
  // A socket of the kind holds some hundred at most.
  for (let round = 0; left.length === 0 && round < 10_000; round++) left = fill();
  expect(left).toEqual([2, 0, 1, 3].slice(4 - left.length));
  expect(left.length).toBeGreaterThan(0);
  expect(messages.receive(far)).toBe(4);
  messages.queue(1, 8);
  expect(messages.send(near)).toEqual([]);
  close(near);
  close(far);
});
