import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createLogger } from "@longshore/log";
import {
  addAddress,
  addDefaultRoute,
  createVeth,
  deleteLink,
  type Link,
  RouteSocket,
  setLink,
} from "@longshore/netlink";
import { openStore, type Store } from "@longshore/store";
import { type CreateNetwork, type Networks, type NetworksOptions, openNetworks } from "../src/index.ts";
import { createNetns, inNetns } from "../src/netns.ts";

export const BRIDGE = "lab0";

/** Networks in the calling thread's network namespace, with a store and directories of their own. */
export interface Lab extends AsyncDisposable {
  readonly stateDir: string;
  readonly database: string;
  readonly route: RouteSocket;
  open(options?: Partial<NetworksOptions>): Promise<Networks>;
}

export function openLab(): Lab {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-network-"));
  const database = path.join(directory, "engine.db");
  const stateDir = path.join(directory, "state");
  const route = new RouteSocket();
  route.run(setLink({ name: "lo" }, { up: true }));
  const stores: Store[] = [];
  const opened: Networks[] = [];
  const open = async (options: Partial<NetworksOptions> = {}): Promise<Networks> => {
    const store = openStore(`sqlite:${database}`);
    stores.push(store);
    const log = createLogger("network-test", { level: "fatal" });
    // Tests play others who change the table, and open several at once.
    const networks = await openNetworks({
      ...{ stateDir, bridge: BRIDGE, store, log, ownsTable: false },
      ...options,
    });
    opened.push(networks);
    return networks;
  };
  return {
    ...{ stateDir, database, route, open },
    async [Symbol.asyncDispose]() {
      for (const networks of opened) await networks.close();
      const networks = await open();
      await networks.uninstall();
      for (const store of stores) await store[Symbol.asyncDispose]();
      route[Symbol.dispose]();
      fs.rmSync(directory, { recursive: true });
    },
  };
}

/** A request for a sandbox of this id. */
export function sandboxRequest(sandboxId: string) {
  const containerId = `container-${sandboxId}`;
  return {
    sandboxId,
    containerId,
    attachments: [{ network: "bridge" }],
    hostname: sandboxId,
    aliases: [],
  } as const;
}

const NO_IPAM = { subnet: "", ipRange: "", gateway: "", auxiliary: {} };

/** A request for a network; with `ipam6` one that has IPv6. */
export function createRequest(
  name: string,
  ipam: Partial<CreateNetwork["ipam"]> = {},
  ipam6?: Partial<CreateNetwork["ipam"]>,
): CreateNetwork {
  return {
    ...{ name, internal: false, attachable: false, options: {}, labels: {} },
    ipam: { ...NO_IPAM, ...ipam },
    ...(ipam6 && { ipam6: { ...NO_IPAM, ...ipam6 } }),
  };
}

/** Run synchronous `work` in the network namespace at a path. */
export function inSandbox<T>(netnsPath: string, work: () => T): T {
  const fd = fs.openSync(netnsPath, "r");
  try {
    return inNetns(fd, work);
  } finally {
    fs.closeSync(fd);
  }
}

/** A second host, 198.51.100.2 and 2001:db8::2, that our host, 198.51.100.1 and 2001:db8::1, has its default routes to. */
export function openOutside(route: RouteSocket): Disposable & { run<T>(work: () => T): T } {
  const outside = createNetns((fd) => ({ fd, route: new RouteSocket() }));
  const addressesOf = (last: number) => ({
    ipv4: Uint8Array.of(198, 51, 100, last),
    ipv6: Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last),
  });
  const [ours, theirs] = [addressesOf(1), addressesOf(2)];
  route.run(createVeth({ name: "uplink", peer: { name: "eth0", netns: outside.fd } }));
  const up = (socket: RouteSocket, name: string, { ipv4, ipv6 }: typeof ours): Link => {
    const link = socket.link(name);
    if (!link) throw new Error(`no link ${name}`);
    const { index } = link;
    // Not to wait for objections to its link-local address.
    const calm = () => fs.writeFileSync(`/proc/sys/net/ipv6/conf/${name}/accept_dad`, "0");
    if (socket === route) calm();
    else inNetns(outside.fd, calm);
    socket.run(
      addAddress({ index, address: ipv4, prefixLength: 24 }),
      setLink({ index }, { up: true }),
      addAddress({ index, address: ipv6, prefixLength: 64 }),
    );
    return link;
  };
  const routes = ({ index }: Link, { ipv4, ipv6 }: typeof ours) => [
    addDefaultRoute(index, ipv4),
    addDefaultRoute(index, ipv6),
  ];
  const outer = up(route, "uplink", ours);
  const inner = up(outside.route, "eth0", theirs);
  route.run(...routes(outer, theirs));
  // Someone outside who knows the way to the containers.
  outside.route.run(...routes(inner, ours));
  return {
    run: (work) => inNetns(outside.fd, work),
    [Symbol.dispose]() {
      route.run(deleteLink("uplink"));
      outside.route[Symbol.dispose]();
      fs.closeSync(outside.fd);
    },
  };
}

/** A server that answers each connection with the address it sees and ends. */
export function serveAddress(hostname: string, port: number) {
  return Bun.listen({
    ...{ hostname, port },
    socket: { open: (socket) => void socket.end(socket.remoteAddress), data() {} },
  });
}

/** Start to connect, and what the server says; undefined when nothing came of it within `timeoutMs`. */
export function ask(hostname: string, port: number, timeoutMs = 10_000): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let answer = "";
  const timer = setTimeout(() => resolve(undefined), timeoutMs);
  Bun.connect({
    ...{ hostname, port },
    socket: {
      data: (_, data) => {
        answer += data.toString();
      },
      close: () => resolve(answer),
    },
  }).catch(() => resolve(undefined));
  return promise.finally(() => clearTimeout(timer));
}

/** Wait until something holds that takes a while to ask. */
export async function untilSo(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 20_000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not so after ${timeoutMs} ms: ${what}`);
    await Bun.sleep(10);
  }
}

/** Wait until something holds. */
export async function until(condition: () => boolean, timeoutMs = 20_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not so after ${timeoutMs} ms: ${condition}`);
    await Bun.sleep(10);
  }
}

/** A server that answers each datagram with the address it came from. */
export async function serveUdp(hostname: string, port: number): Promise<Disposable> {
  const socket = await Bun.udpSocket({
    ...{ hostname, port },
    socket: { data: (self, _data, senderPort, sender) => void self.send(sender, senderPort, sender) },
  });
  return { [Symbol.dispose]: () => socket.close() };
}

/** Send a datagram, and what comes back; undefined when nothing did within `timeoutMs`. */
export async function askUdp(
  hostname: string,
  port: number,
  timeoutMs = 10_000,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => resolve(undefined), timeoutMs);
  const socket = await Bun.udpSocket({
    connect: { hostname, port },
    socket: { data: (_, data) => resolve(data.toString()) },
  });
  socket.send("?");
  const answer = await promise;
  clearTimeout(timer);
  socket.close();
  return answer;
}

/** A server that sends back what it gets. */
export function serveEcho(hostname: string, port: number) {
  return Bun.listen({ hostname, port, socket: { data: (socket, data) => void socket.write(data) } });
}

/** A connection to such a server. */
export async function openEcho(hostname: string, port: number) {
  let expected = 0;
  let done = () => {};
  let failed = (_error: Error) => {};
  const socket = await Bun.connect({
    ...{ hostname, port },
    socket: {
      close: () => failed(new Error("the connection has ended")),
      data(_, data) {
        expected -= data.byteLength;
        if (expected <= 0) done();
      },
    },
  });
  return {
    /** Send something, and wait until as much has come back. */
    async exchange(text: string): Promise<void> {
      const back = new Promise<void>((resolve, reject) => ([done, failed] = [resolve, reject]));
      expected = text.length;
      socket.write(text);
      await back;
    },
    close: () => void socket.end(),
  };
}
