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
const NOT_COMPILED = [
  "node_modules",
  "gen",
  "gen-compact",
  "test",
  "bench",
  "e2e",
  "suite",
  "testkit",
  "tooling",
];

const sourcesOf = (binary: Binary) => path.join(repoRoot, "services", binary, "src");

/**
 * The files of a component that are loaded on their own, relative to its sources: `main.ts`, and those in `entries/`, one of which
 * it loads by `require("./entries/<name>.js")`. What isn't loaded costs nothing, and within a file nothing is loaded
 * lazily, for the bundler wraps whatever is: 3 ms at each start of runc.
 */
function entriesOf(binary: Binary): string[] {
  const entries = path.join(sourcesOf(binary), "entries");
  if (!fs.existsSync(entries)) return ["main.ts"];
  const names = fs.readdirSync(entries).filter((name) => /(?<!\.test)\.ts$/.test(name));
  return ["main.ts", ...names.sort().map((name) => `entries/${name}`)];
}

/** Components whose memory counts: they get the messages of `proto/` in the form that takes little of it, and no names to remember. */
const COMPACT: readonly Binary[] = ["containerd-shim-runc-v2"];

/**
 * The entries of a component as CommonJS files below `directory`. As ES modules in one bundle, the functions of all
 * components would be made at the start of each: 2 MB and 5 ms more for the shim and runc.
 */
function bundle(binary: Binary, directory: string): string[] {
  const sources = sourcesOf(binary);
  const entries = entriesOf(binary);
  const target = ["--target=bun", "--format=cjs", "--minify-syntax", "--minify-whitespace", ...defines()];
  if (COMPACT.includes(binary)) target.push("--conditions=compact", "--minify-identifiers");
  const files = entries.map((entry) => path.join(sources, entry));
  // One file alone would be written to the top, whatever the root.
  const names = entries.length === 1 ? ["--entry-naming=main.[ext]"] : [`--root=${sources}`];
  execFileSync(bun, ["build", ...target, ...files, ...names, `--outdir=${directory}`], {
    cwd: repoRoot,
    stdio: ["ignore", "ignore", "inherit"],
  });
  return entries.map((entry) => {
    const written = path.join(directory, entry.replace(/\.ts$/, ".js"));
    // Bun writes the file as a function for its own loader; the bundler, which makes one of its own, wants what is in it.
    const [whole, body] =
      /^\/\/ @bun[^\n]*\n\(function\(exports,[^)]*\) \{([\s\S]*)\}\)\s*$/.exec(
        fs.readFileSync(written, "utf8"),
      ) ?? [];
    if (whole === undefined) throw new Error(`bun has written ${written} in a shape that is not known here`);
    const file = written.replace(/\.js$/, ".cjs");
    // Without a mention of its exports it would be taken for an ES module.
    fs.writeFileSync(file, body?.includes("module.exports") ? body : `${body}\nmodule.exports = {};\n`);
    fs.rmSync(written);
    return file;
  });
}

/** What an executable does first: load the component that it was started as. */
function startFile(only?: Binary): string {
  // By a name that is only known as it runs: the bundler would put the file into this one, and lose its bytecode.
  const load = 'require("./".concat(name, "/main.js"));';
  if (only) return `const [name] = ${JSON.stringify([only])};\n${load}\n`;
  return [
    'const name = process.argv0.slice(process.argv0.lastIndexOf("/") + 1);',
    `if (!${JSON.stringify(binaries)}.includes(name)) {`,
    `  console.error(name + ": start it under one of the names ${binaries.join(", ")}");`,
    "  process.exit(125);",
    "}",
    load,
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

function compile(entries: readonly string[], root: string, outfile: string): void {
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
      ...entries,
      `--root=${root}`,
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

/** The components in the order in which their names get into the executable's table. */
const BY_SIZE: readonly Binary[] = [
  "containerd-shim-runc-v2",
  "runc",
  "docker",
  "registry-client",
  "containerd",
  "dockerd",
];

/** The files of a component that its long-lived process loads, the others behind them. */
const MAIN_FILES = ["main.cjs", "standby.cjs", "stay.cjs"];

/** What Bun's own part for calling C is written with, as far as other components have these words, too. */
const WORDS_OF_FFI =
  "pointer globalThis float bool double callback URL char native fileURLToPath toBuffer closeCallback f32 f64 int suffix u8 u16 void " +
  "toArrayBuffer CFunction CString FFIBuilder cFunctionI ccFn closeJSCFFICFunction ffi linkSymbols nativeCFunction nativeCallback " +
  "nativeDLOpen nativeLinkSymbols nativeViewSource normalizePath toCString viewSource JSCallback c_int c_uint char* i16 i8 int16_t " +
  "int32_t int64_t int8_t isize uint16_t uint32_t uint64_t uint8_t usize void* cstring u64_fast napi_env napi_value buffer_length " +
  "buffer_bytelength FFI cfunction toPrimitive isError";

/** Bun's: it takes the files in lots of so many, the last lot first, and those of a lot in the order that they are given. */
const LOT = 8;

/**
 * The files in the order in which Bun shall be given them, `start` first. The executable has one table of all names in them; a process has
 * an address for each of these, and takes each page of the addresses that has one which it uses. So what the shim uses comes into the
 * table first: it takes 6 pages of 66, otherwise 30.
 */
function inOrder(start: string, files: ReadonlyMap<Binary, readonly string[]>, work: string): string[] {
  const words = path.join(work, "js/words.cjs");
  fs.writeFileSync(words, `module.exports = ${JSON.stringify(WORDS_OF_FFI.split(" "))};\n`);
  const place = (file: string) => [...MAIN_FILES, path.basename(file)].indexOf(path.basename(file));
  const table = [
    words,
    ...BY_SIZE.flatMap((name) => (files.get(name) ?? []).toSorted((one, other) => place(one) - place(other))),
  ];
  const lots: string[][] = [];
  let size = (table.length + 1) % LOT || LOT;
  for (let at = 0; at < table.length; at += size, size = LOT) lots.unshift(table.slice(at, at + size));
  return [start, ...lots.flat()];
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
    const files = new Map(binaries.map((name) => [name, bundle(name, path.join(work, "js", name))]));
    const executable = (outfile: string, contents: ReadonlyMap<Binary, readonly string[]>, only?: Binary) => {
      const start = path.join(work, "js/start.ts");
      fs.writeFileSync(start, startFile(only));
      compile(inOrder(start, contents, work), path.join(work, "js"), path.join(work, outfile));
    };
    if (separate) {
      for (const [name, contents] of files) executable(name, new Map([[name, contents]]), name);
    } else {
      executable("longshore", files);
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
