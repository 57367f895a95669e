import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { generateCompact } from "./generate-compact.ts";
import { repoRoot } from "./paths.ts";

const protoDir = path.join(repoRoot, "proto");
const genDir = path.join(repoRoot, "packages/api/src/gen");
const compactDir = path.join(repoRoot, "packages/api/src/gen-compact");
const toolBin = path.join(repoRoot, "packages/tooling/node_modules/.bin");

/** ts-proto's settings: plain objects, bigint for 64 bits (sizes and cgroup limits exceed 2^53), no gRPC library. */
const options = [
  "env=node",
  "forceLong=bigint",
  "useDate=false",
  "oneof=unions-value",
  "enumsAsLiterals=true",
  "unrecognizedEnum=false",
  "outputJsonMethods=false",
  "outputServices=generic-definitions",
  "esModuleInterop=true",
  "importSuffix=.ts",
  "comments=false",
];

/** The newest change at or below a path, so that an unchanged `proto/` costs no generator run. */
function newestMtime(file: string): number {
  const stat = fs.statSync(file);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...fs.readdirSync(file).map((name) => newestMtime(path.join(file, name))));
}

/** Write packages/api/src/gen and gen-compact from proto/, when proto/ or this generator is newer. */
export function generate(): void {
  const stamp = path.join(genDir, ".stamp");
  const inputs = Math.max(
    newestMtime(protoDir),
    ...["generate.ts", "generate-compact.ts"].map((name) =>
      newestMtime(path.join(repoRoot, "packages/tooling/src", name)),
    ),
  );
  if (fs.existsSync(stamp) && fs.statSync(stamp).mtimeMs > inputs) return;
  fs.rmSync(genDir, { recursive: true, force: true });
  const template = {
    version: "v2",
    plugins: [
      {
        local: path.join(toolBin, "protoc-gen-ts_proto"),
        out: genDir,
        opt: options,
        strategy: "all",
        include_imports: true,
        include_wkt: true,
      },
    ],
  };
  execFileSync(path.join(toolBin, "buf"), ["generate", protoDir, "--template", JSON.stringify(template)], {
    cwd: repoRoot,
    stdio: ["ignore", "inherit", "inherit"],
  });
  generateCompact({ buf: path.join(toolBin, "buf"), protoDir, outDir: compactDir });
  fs.writeFileSync(stamp, "");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) generate();
