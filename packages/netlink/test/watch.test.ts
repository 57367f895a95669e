import { expect, test } from "bun:test";
import {
  addChain,
  addTable,
  deleteTable,
  NftablesSocket,
  type NftChange,
  watchNftables,
} from "../src/index.ts";
import { testInPrivateNetwork } from "../src/testing.ts";

testInPrivateNetwork(import.meta.path, "nftables tells what is changed in a network namespace", () => {
  test("watchNftables() tells of each transaction which tables it changed, and by whose socket", async () => {
    using ours = new NftablesSocket();
    using theirs = new NftablesSocket();
    expect(ours.portId).not.toBe(theirs.portId);
    const seen: NftChange[][] = [];
    let wake = () => {};
    using watch = await watchNftables((changes) => {
      seen.push([...(changes ?? [])]);
      wake();
    });
    const changed = async (count: number): Promise<void> => {
      while (seen.flat().length < count) await new Promise<void>((resolve) => (wake = resolve));
    };
    const one = { family: "inet", name: "one" } as const;
    const two = { family: "ip", name: "two" } as const;
    ours.commit([addTable(one), addTable(two), addChain(two, "c")]);
    await changed(3);
    expect(seen.flat().map(({ table, portId }) => [table.family, table.name, portId])).toEqual([
      ["inet", "one", ours.portId],
      ["ip", "two", ours.portId],
      ["ip", "two", ours.portId],
    ]);
    theirs.commit([deleteTable(one)]);
    await changed(4);
    expect(seen.flat()[3]).toEqual({ table: one, portId: theirs.portId });
    watch[Symbol.dispose]();
    theirs.commit([deleteTable(two)]);
    expect(seen.flat()).toHaveLength(4);
  });

  test("watchNftables() says so when it has missed something, and goes on", async () => {
    using nft = new NftablesSocket();
    const calls: (readonly NftChange[] | undefined)[] = [];
    let wake = () => {};
    using watch = await watchNftables((changes) => {
      calls.push(changes);
      wake();
    });
    expect(watch).toBeDefined();
    // More than a socket holds, while the loop has no time to read.
    const tables = Array.from({ length: 2000 }, (_, n) => ({ family: "inet", name: `t${n}` }) as const);
    nft.commit(tables.map(addTable));
    while (!calls.includes(undefined)) await new Promise<void>((resolve) => (wake = resolve));
    nft.commit(tables.map(deleteTable));
    const last = { family: "ip6", name: "last" } as const;
    while (!calls.at(-1)?.some(({ table }) => table.name === "last")) {
      const told = new Promise<void>((resolve) => (wake = resolve));
      nft.commit([addTable(last), deleteTable(last)]);
      await told;
    }
  });
});
