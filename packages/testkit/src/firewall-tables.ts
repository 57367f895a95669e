import { spawnSync } from "node:child_process";
import { findExecutable } from "@longshore/suite";

/**
 * The nftables tables of this network namespace, each as `table FAMILY NAME`; none for a user who may not list them.
 *
 * @throws when the command `nft` is missing or fails: a leak of a table would go unseen
 */
export function listTables(find = findExecutable): string[] {
  if (process.getuid?.() !== 0) return [];
  return nft(find, ["list", "tables"]).split("\n").filter(Boolean);
}

/** Delete those of an engine's tables that are there, by their names. Throws as `listTables` does. */
export function deleteTables(names: readonly string[], find = findExecutable): void {
  const present = new Set(listTables(find));
  for (const name of names)
    if (present.has(`table inet ${name}`)) nft(find, ["delete", "table", "inet", name]);
}

function nft(find: typeof findExecutable, words: string[]): string {
  const command = find("nft");
  if (!command) throw new Error("The tests need the command nft: install the Debian package nftables.");
  const { status, stdout, stderr, error } = spawnSync(command, words, { encoding: "utf8" });
  if (status !== 0) throw new Error(`nft ${words.join(" ")}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}
