// Asks 127.0.0.11 for the address of `peer` as fast as it answers; prints answers a second and, in milliseconds, how long half of those
// took at most that were asked one after the other. Run by bun in a container's network namespace. It takes many messages with each
// system call: a client that takes as long for a query as the server would measure itself.
import {
  AF_INET,
  connect,
  Datagrams,
  poll,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  setsockopt,
  socket,
} from "@longshore/syscalls";

const MS = 2000;
const ONE_BY_ONE = 2000;
const SOCKETS = 4;
const AT_ONCE = 64;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
/** A query for `peer`, type A, of the class IN, but for its id. */
const QUERY = Buffer.from("00000100000100000000000004706565720000010001", "hex");
/** struct sockaddr_in: family, port, address. */
const RESOLVER = Uint8Array.of(AF_INET, 0, 0, 53, 127, 0, 0, 11, ...new Uint8Array(8));

function ask(messages: Datagrams, fd: number, count: number): void {
  for (let place = 0; place < count; place++) {
    messages.bytes.set(QUERY, place * messages.size);
    messages.bytes[place * messages.size] = place;
    messages.queue(place, QUERY.length);
  }
  messages.send(fd);
}

/** @returns how many answers have come */
function take(messages: Datagrams, fd: number): number {
  const came = messages.receive(fd);
  for (let place = 0; place < came; place++) {
    const at = place * messages.size;
    // No error, one answer.
    if ((messages.bytes[at + 3] ?? 15) % 16 !== 0 || messages.bytes[at + 7] !== 1)
      throw new Error("not the answer");
  }
  return came;
}

const messages = new Datagrams({ count: AT_ONCE, size: 512, connected: true });
const fds = Array.from({ length: SOCKETS }, () => {
  const fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, 1 << 20);
  connect(fd, RESOLVER);
  return fd;
});
const waits = fds.map((fd) => ({ fd, events: 1 }));

const times: number[] = [];
const [first = -1] = fds;
while (times.length < ONE_BY_ONE) {
  const started = performance.now();
  ask(messages, first, 1);
  do poll([{ fd: first, events: 1 }], 1000);
  while (take(messages, first) === 0 && performance.now() < started + 1000);
  times.push(performance.now() - started);
}
times.sort((one, other) => one - other);

let answers = 0;
for (const fd of fds) ask(messages, fd, AT_ONCE);
const started = performance.now();
while (performance.now() < started + MS) {
  const ready = poll(waits, 50);
  // What is lost would be missing from those under way.
  if (!ready.some(({ readable }) => readable)) for (const fd of fds) ask(messages, fd, AT_ONCE);
  for (const [index, { readable }] of ready.entries()) {
    const fd = fds[index];
    if (!readable || fd === undefined) continue;
    const came = take(messages, fd);
    answers += came;
    ask(messages, fd, came);
  }
}
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ rate: Math.round(answers / seconds), ms: times[ONE_BY_ONE / 2] }));
process.exit();
