import fs from "node:fs";
import path from "node:path";
import { repoRoot } from "./paths.ts";

/** List the test files below a directory, as paths from the repository's root. */
export function testFiles(dir: string): string[] {
  if (!fs.existsSync(dir)) return [];
  return fs
    .readdirSync(dir, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts") && !name.split("/").includes("node_modules"))
    .map((name) => path.relative(repoRoot, path.join(dir, name)))
    .sort();
}
