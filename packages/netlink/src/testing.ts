import { test } from "bun:test";
import fs from "node:fs";
import { CLONE_NEWNET, setns, unshare } from "@longshore/syscalls";
import { addAddress, addDefaultRoute } from "./address.ts";
import { createVeth, type Link, setLink } from "./link.ts";
import { RouteSocket } from "./route-socket.ts";

const PRIVATE = "LONGSHORE_TEST_PRIVATE_NETWORK";
const OWN_NETNS = "/proc/thread-self/ns/net";

/** Define the tests of a file so that they run in a process with network and mount namespaces of its own; only as root. */
export function testInPrivateNetwork(file: string, title: string, define: () => void): void {
  if (process.env[PRIVATE] !== undefined) {
    define();
    return;
  }
  test.skipIf(process.getuid?.() !== 0)(
    title,
    async () => {
      const inner = Bun.spawn(["unshare", "-n", "-m", process.execPath, "test", "--timeout", "60000", file], {
        env: { ...process.env, [PRIVATE]: "1" },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const [out, failed] = await Promise.all([inner.stdout.text(), inner.stderr.text()]);
      if ((await inner.exited) !== 0) throw new Error(`${out}${failed}`);
    },
    120_000,
  );
}

/** A network namespace joined to ours by a cable. */
export interface Neighbour extends Disposable {
  /** Bound to the namespace. */
  readonly route: RouteSocket;
  /** An open `ns/net` file. */
  readonly netns: number;
  /** Run synchronous `work` with this thread in the namespace. */
  run<T>(work: () => T): T;
}

/** Bytes of `10.1.2.3`. */
export const address = (text: string): Uint8Array => Uint8Array.from(text.split("."), Number);

/**
 * Another host of our network: our end of the cable is the interface `name` with the address `ours`, theirs is eth0 with
 * `theirs` and a default route to us.
 */
export function addNeighbour(name: string, ours: string, theirs: string, prefixLength = 24): Neighbour {
  using undo = new DisposableStack();
  const home = fs.openSync(OWN_NETNS, "r");
  undo.defer(() => fs.closeSync(home));
  const run = <T>(enter: () => void, work: () => T): T => {
    enter();
    try {
      return work();
    } finally {
      setns(home, CLONE_NEWNET);
    }
  };
  const [netns, route] = run(
    () => unshare(CLONE_NEWNET),
    () => {
      const fd = fs.openSync(OWN_NETNS, "r");
      undo.defer(() => fs.closeSync(fd));
      return [fd, undo.use(new RouteSocket())];
    },
  );
  using here = new RouteSocket();
  here.run(setLink({ name: "lo" }, { up: true }), createVeth({ name, peer: { name: "eth0", netns } }));
  route.run(setLink({ name: "lo" }, { up: true }));
  bringUp(here, name, ours, prefixLength);
  const { index } = bringUp(route, "eth0", theirs, prefixLength);
  route.run(addDefaultRoute(index, address(ours)));
  const owned = undo.move();
  return {
    ...{ route, netns },
    run: (work) => run(() => setns(netns, CLONE_NEWNET), work),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function bringUp(route: RouteSocket, name: string, text: string, prefixLength: number): Link {
  const link = route.link(name);
  if (!link) throw new Error(`no link ${name}`);
  const { index } = link;
  route.run(addAddress({ index, address: address(text), prefixLength }), setLink({ index }, { up: true }));
  return link;
}
