import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { repoRoot } from "./paths.ts";

test("SECURITY.md names tests that exist in each row of its table of attacks, and all tests of attacks", () => {
  const text = fs.readFileSync(path.join(repoRoot, "SECURITY.md"), "utf8");
  const table = /<!-- attacks -->(.*)<!-- \/attacks -->/s.exec(text)?.[1] ?? "";
  const rows = table
    .trim()
    .split("\n")
    .slice(2)
    .map((row) => [...row.matchAll(/`([^`]+\.test\.ts)`/g)].map(([, file]) => file ?? ""));
  expect(rows.length).toBeGreaterThan(20);
  for (const files of rows) expect(files).not.toEqual([]);
  const named = new Set(rows.flat());
  for (const file of named)
    expect({ file, exists: fs.existsSync(path.join(repoRoot, file)) }).toEqual({ file, exists: true });
  const folder = "packages/e2e/src/security";
  const attacks = fs.readdirSync(path.join(repoRoot, folder)).filter((file) => file.endsWith(".test.ts"));
  // It tests what the attacks are made with.
  const unnamed = attacks
    .map((file) => `${folder}/${file}`)
    .filter((file) => !named.has(file) && !file.endsWith("/harness.test.ts"));
  expect(unnamed).toEqual([]);
});
