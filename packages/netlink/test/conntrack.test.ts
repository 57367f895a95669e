import { expect, test } from "bun:test";
import {
  addBaseChain,
  addRule,
  addTable,
  ConntrackSocket,
  NftablesSocket,
  type TrackedConnection,
} from "../src/index.ts";
import { addNeighbour, testInPrivateNetwork } from "../src/testing.ts";

const UDP = 17;

testInPrivateNetwork(import.meta.path, "connections that the kernel tracks are told and forgotten", () => {
  test("ConntrackSocket.forget() sees those of one protocol, and forgets the ones that are meant", async () => {
    using client = addNeighbour("to-client", "10.0.0.1", "10.0.0.2");
    using nft = new NftablesSocket();
    const table = { family: "inet", name: "tracking" } as const;
    // The kernel tracks connections where somebody asks about them.
    nft.commit([
      addTable(table),
      addBaseChain(table, { name: "in", type: "filter", hook: "input", priority: 0, policy: "accept" }),
      addRule(table, "in", [{ is: "ctState" }, { is: "counter" }]),
    ]);
    const heard = Promise.withResolvers<void>();
    let count = 0;
    const server = await Bun.udpSocket({
      ...{ hostname: "10.0.0.1", port: 5300 },
      socket: { data: () => void (++count === 2 && heard.resolve()) },
    });
    const tcp = Bun.listen({ hostname: "10.0.0.1", port: 80, socket: { data() {} } });
    const senders = await Promise.all(
      client.run(() => [1, 2].map(() => Bun.udpSocket({ connect: { hostname: "10.0.0.1", port: 5300 } }))),
    );
    for (const sender of senders) sender.send("?");
    await heard.promise;
    const connected = await client.run(() =>
      Bun.connect({ hostname: "10.0.0.1", port: 80, socket: { data() {} } }),
    );

    using conntrack = new ConntrackSocket();
    const seen: TrackedConnection[] = [];
    expect(conntrack.forget(UDP, (connection) => !seen.push(connection))).toBe(0);
    expect(seen).toHaveLength(2);
    const [first] = senders;
    expect(seen.map(({ original, reply }) => ({ original, reply }))).toContainEqual({
      original: {
        ...{ protocol: UDP, source: "10.0.0.2", sourcePort: first?.port ?? 0 },
        ...{ destination: "10.0.0.1", destinationPort: 5300 },
      },
      reply: {
        ...{ protocol: UDP, source: "10.0.0.1", sourcePort: 5300 },
        ...{ destination: "10.0.0.2", destinationPort: first?.port ?? 0 },
      },
    });
    const isFirst = ({ original }: TrackedConnection) => original.sourcePort === first?.port;
    expect(conntrack.forget(UDP, isFirst)).toBe(1);
    expect(conntrack.forget(UDP, () => false)).toBe(0);
    expect(conntrack.forget(UDP, () => true)).toBe(1);
    expect(conntrack.forget(6, () => true)).toBe(1);
    for (const socket of [...senders, server]) socket.close();
    connected.terminate();
    tcp.stop(true);
  });
});
