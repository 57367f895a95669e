import { execFileSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { generate } from "./generate.ts";
import { type Binary, binaries, distDir, repoRoot } from "./paths.ts";

const bun = path.join(repoRoot, "node_modules/.bin/bun");

/** Packages that no executable is made from. */
const NOT_COMPILED = ["node_modules", "gen", "test", "bench", "e2e", "suite", "testkit", "tooling"];

const mainOf = (binary: Binary) => path.join(repoRoot, "services", binary, "src/main.ts");

/**
 * One component as a CommonJS file of its own. Bundled together as ES modules, all components' functions would be made at
 * the start of each: 2 MB and 5 ms more for the shim and runc.
 */
function bundle(binary: Binary, outfile: string): void {
  const target = ["--target=bun", "--format=cjs", "--minify-syntax", "--minify-whitespace", ...defines()];
  execFileSync(bun, ["build", ...target, mainOf(binary), `--outfile=${outfile}`], {
    cwd: repoRoot,
    stdio: ["ignore", "ignore", "inherit"],
  });
  // Bun writes the file as a function for its own loader; the bundler, which makes one of its own, wants what is in it.
  const [whole, body] =
    /^\/\/ @bun[^\n]*\n\(function\(exports,[^)]*\) \{([\s\S]*)\}\)\s*$/.exec(
      fs.readFileSync(outfile, "utf8"),
    ) ?? [];
  if (whole === undefined) throw new Error(`bun has written ${outfile} in a shape that is not known here`);
  fs.writeFileSync(outfile, `${body}\nmodule.exports = {};\n`);
}

/**
 * The entry of the multi-call executable: a switch on the name it was started by. `require` keeps every
 * component's code out of the others' start-up.
 */
function multicallEntry(): string {
  const cases = binaries.map(
    (name) => `  case ${JSON.stringify(name)}: require(${JSON.stringify(`./${name}.cjs`)}); break;`,
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

function defines(): string[] {
  return [`--define=LONGSHORE_COMMIT=${JSON.stringify(commit())}`];
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
      ...defines(),
      entry,
      `--outfile=${outfile}`,
    ],
    { cwd: repoRoot, stdio: ["ignore", "ignore", "inherit"] },
  );
}

/** What the executables are made from, so that an unchanged tree is not built again. */
function fingerprint(separate: boolean): string {
  const hash = crypto.createHash("sha256").update(String(separate)).update(commit());
  hash.update(fs.readFileSync(fileURLToPath(import.meta.url)));
  const visit = (file: string): void => {
    const stat = fs.statSync(file);
    if (!stat.isDirectory()) {
      if (/(?<!\.test)\.ts$|\.(json|proto|yaml)$/.test(file))
        hash.update(`${file}\0${stat.mtimeMs}\0${stat.size}\n`);
      return;
    }
    for (const name of fs.readdirSync(file).sort()) {
      if (!NOT_COMPILED.includes(name)) visit(path.join(file, name));
    }
  };
  for (const top of ["packages", "services", "proto", "pnpm-lock.yaml"]) visit(path.join(repoRoot, top));
  return hash.digest("hex");
}

export interface BuildOptions {
  /** Each component an executable of its own, for shipping it alone; by default all are links of one. */
  separate?: boolean;
  /** `dist` when left out; the executables are in its `bin`. */
  outDir?: string;
  progress?: (line: string) => void;
}

/**
 * Build the executables, unless they are up to date. The old ones stay in place until all new ones are there, and
 * running ones are never written to.
 */
export function build({ separate = false, outDir = distDir, progress }: BuildOptions = {}): void {
  generate();
  const bin = path.join(outDir, "bin");
  const stamp = path.join(outDir, ".stamp");
  const print = fingerprint(separate);
  const complete = binaries.every((name) => fs.existsSync(path.join(bin, name)));
  if (complete && fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === print) return;
  progress?.(separate ? `build ${binaries.length} separate executables` : "build");
  fs.mkdirSync(bin, { recursive: true });
  const work = fs.mkdtempSync(path.join(outDir, "build-"));
  try {
    if (separate) {
      for (const name of binaries) compile(mainOf(name), path.join(work, name));
    } else {
      for (const name of binaries) bundle(name, path.join(work, `${name}.cjs`));
      const entry = path.join(work, "longshore.ts");
      fs.writeFileSync(entry, multicallEntry());
      compile(entry, path.join(work, "longshore"));
      for (const name of binaries) fs.linkSync(path.join(work, "longshore"), path.join(work, name));
    }
    fs.rmSync(stamp, { force: true });
    for (const name of binaries) fs.renameSync(path.join(work, name), path.join(bin, name));
    fs.writeFileSync(stamp, print);
  } finally {
    fs.rmSync(work, { recursive: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({ options: { separate: { type: "boolean" }, "out-dir": { type: "string" } } });
  build({
    separate: values.separate ?? false,
    ...(values["out-dir"] !== undefined && { outDir: path.resolve(values["out-dir"]) }),
  });
}
