import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";

const root = path.resolve(import.meta.dirname, "../../..");

/** Lint files with the repository's rules. @returns the paths of those with a forbidden import */
function forbidden(files: Record<string, string>): string[] {
  using dir = tempDir();
  const config = fs.readFileSync(path.join(root, "biome.jsonc"), "utf8");
  fs.writeFileSync(path.join(dir.path, "biome.jsonc"), config.replace(/^ *"(\$schema|vcs)": .*\n/gm, ""));
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir.path, name)), { recursive: true });
    fs.writeFileSync(path.join(dir.path, name), text);
  }
  const biome = path.join(root, "node_modules/.bin/biome");
  const args = ["lint", "--only=style/noRestrictedImports", "--reporter=github", "."];
  const { stdout } = spawnSync(biome, args, { cwd: dir.path, encoding: "utf8" });
  const found = [...stdout.matchAll(/title=lint\/style\/noRestrictedImports,file=([^,]+)/g)];
  return [
    ...new Set(found.map(([, file = ""]) => path.relative(dir.path, path.resolve(dir.path, file)))),
  ].sort();
}

const BARE = 'import fs from "node:fs";\nexport const text = fs.readFileSync("/x");\n';
const PROMISES = 'import fs from "node:fs/promises";\nexport const text = await fs.readFile("/x");\n';
const BY_NAME = 'import { lchown } from "@longshore/syscalls";\nlchown("/x", 0, 0);\n';
const ROOTED =
  'import { RootedTree } from "@longshore/archive";\nexport const tree = new RootedTree("/x");\n';

test("the linter refuses bare file access in new code that meets trees of containers, and nothing else", () => {
  const refused = {
    "packages/archive/src/new-module.ts": BARE,
    "packages/mounts/src/new-module.ts": BY_NAME,
    "packages/snapshots/src/new-module.ts": PROMISES,
    "services/containerd/src/services/new-module.ts": BARE,
    "services/containerd-shim-runc-v2/src/new-module.ts": BARE,
    "services/dockerd/src/copy/new-module.ts": BARE,
    "services/dockerd/src/execs/new-module.ts": PROMISES,
    "services/dockerd/src/spec/layered-root.ts": BARE,
    "services/dockerd/src/volumes/new-module.ts": BY_NAME,
    "services/runc/src/new-module.ts": BY_NAME,
  };
  const allowed = {
    "packages/archive/src/rooted-tree.ts": BARE,
    "packages/archive/src/new-module.test.ts": BARE,
    "services/dockerd/src/config/new-module.ts": BARE,
    "services/dockerd/src/volumes/rooted-module.ts": ROOTED,
    "services/docker/src/new-module.ts": BARE,
  };
  expect(forbidden({ ...refused, ...allowed })).toEqual(Object.keys(refused).sort());
});

test("each file in the list of exceptions exists", () => {
  const config = fs.readFileSync(path.join(root, "biome.jsonc"), "utf8");
  const patterns = [...config.matchAll(/^ +"((?:packages|services)\/[^"]+\.ts)",?$/gm)].map(
    ([, text = ""]) => text,
  );
  expect(patterns.length).toBeGreaterThan(10);
  const missing = patterns
    .flatMap(expandBraces)
    .filter((pattern) => [...new Bun.Glob(pattern).scanSync(root)].length === 0);
  expect(missing).toEqual([]);
});

function expandBraces(pattern: string): string[] {
  const [whole, inside] = /\{([^}]+)\}/.exec(pattern) ?? [];
  if (whole === undefined || inside === undefined) return [pattern];
  return inside.split(",").flatMap((part) => expandBraces(pattern.replace(whole, part)));
}
