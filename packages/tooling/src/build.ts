import { execFileSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { generate } from "./generate.ts";
import { type Binary, binaries, binDir, repoRoot } from "./paths.ts";

const bun = path.join(repoRoot, "node_modules/.bin/bun");
const genDir = path.join(repoRoot, "dist/gen");

const mainOf = (binary: Binary) => path.join(repoRoot, "services", binary, "src/main.ts");

/**
 * The entry of the multi-call executable: a switch on the name it was started by. `require` keeps every
 * component's modules out of the others' start-up.
 */
function multicallEntry(): string {
  const cases = binaries.map(
    (name) => `  case ${JSON.stringify(name)}: require(${JSON.stringify(mainOf(name))}); break;`,
  );
  return [
    'const name = process.argv0.slice(process.argv0.lastIndexOf("/") + 1);',
    "switch (name) {",
    ...cases,
    `  default: process.stderr.write(name + ": start it under one of the names ${binaries.join(", ")}\\n"); process.exit(125);`,
    "}",
    "",
  ].join("\n");
}

function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      cwd: repoRoot,
      stdio: ["ignore", "pipe", "ignore"],
    })
      .toString()
      .trim();
  } catch {
    return ""; // not a checkout, or no git
  }
}

function compile(entry: string, outfile: string): void {
  fs.mkdirSync(path.dirname(outfile), { recursive: true });
  // A running executable can't be written to, but it can be replaced.
  const part = `${outfile}.part`;
  execFileSync(
    bun,
    [
      "build",
      "--compile",
      "--minify-syntax",
      "--minify-whitespace",
      "--bytecode",
      "--target=bun-linux-x64",
      // A compiled binary would otherwise read ./.env and ./bunfig.toml of whatever directory it is started in.
      "--no-compile-autoload-dotenv",
      "--no-compile-autoload-bunfig",
      `--define=LONGSHORE_COMMIT=${JSON.stringify(commit())}`,
      entry,
      `--outfile=${part}`,
    ],
    { cwd: repoRoot, stdio: ["ignore", "ignore", "inherit"] },
  );
  fs.renameSync(part, outfile);
}

function link(target: string, name: string): void {
  const part = `${name}.part`;
  fs.rmSync(part, { force: true });
  fs.linkSync(target, part);
  fs.renameSync(part, name);
}

/** What the executables are made from, so that an unchanged tree is not built again. */
function fingerprint(separate: boolean): string {
  const hash = crypto.createHash("sha256").update(String(separate)).update(commit());
  const visit = (file: string): void => {
    const stat = fs.statSync(file);
    if (!stat.isDirectory()) {
      if (/\.(ts|json|proto|yaml)$/.test(file)) hash.update(`${file}\0${stat.mtimeMs}\0${stat.size}\n`);
      return;
    }
    for (const name of fs.readdirSync(file).sort()) {
      if (!["node_modules", "gen", "test"].includes(name)) visit(path.join(file, name));
    }
  };
  for (const top of ["packages", "services", "proto", "pnpm-lock.yaml"]) visit(path.join(repoRoot, top));
  return hash.digest("hex");
}

export interface BuildOptions {
  /** Each component an executable of its own, for shipping it alone; by default all are links of one. */
  separate?: boolean;
}

/** Build dist/bin, unless it is up to date. */
export function build({ separate = false }: BuildOptions = {}): void {
  generate();
  const stamp = path.join(repoRoot, "dist/.stamp");
  const print = fingerprint(separate);
  const complete = binaries.every((name) => fs.existsSync(path.join(binDir, name)));
  if (complete && fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === print) return;
  fs.rmSync(stamp, { force: true });
  if (separate) {
    for (const name of binaries) compile(mainOf(name), path.join(binDir, name));
  } else {
    fs.mkdirSync(genDir, { recursive: true });
    const entry = path.join(genDir, "longshore.ts");
    fs.writeFileSync(entry, multicallEntry());
    const executable = path.join(repoRoot, "dist/longshore");
    compile(entry, executable);
    fs.mkdirSync(binDir, { recursive: true });
    for (const name of binaries) link(executable, path.join(binDir, name));
  }
  fs.writeFileSync(stamp, print);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  build({ separate: process.argv.includes("--separate") });
}
