import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { deleteTables, listTables } from "./firewall-tables.ts";
import { leaksSince, traces } from "./leaks.ts";

const asRoot = test.skipIf(process.getuid?.() !== 0);

asRoot("an engine's tables are leaks until deleteTables() has deleted them", async () => {
  const names = ["", "_user"].map((end) => `longshore-test-${process.pid}${end}`);
  const now = () => traces({ binDirs: [] });
  const own = (lines: string[]) => lines.filter((line) => line.includes(names[0] ?? "")).sort();
  const before = now();
  try {
    for (const name of names) spawnSync("nft", ["add", "table", "inet", name]);
    const lines = names.map((name) => `nftables table inet ${name}`);
    expect(own(await leaksSince(before, now, 0))).toEqual(lines);
  } finally {
    deleteTables(names);
  }
  expect(own(await leaksSince(before, now, 0))).toEqual([]);
  deleteTables(names); // which are gone: no error
});

asRoot("a machine without nft is an error rather than one without tables", () => {
  const lacking = () => undefined;
  expect(() => listTables(lacking)).toThrow("install the Debian package nftables");
  expect(() => deleteTables(["any"], lacking)).toThrow("install the Debian package nftables");
});
