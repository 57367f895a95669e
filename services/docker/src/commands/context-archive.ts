import fs from "node:fs";
import { contentPadding, END_BLOCKS, type EntryType, headerBlocks, tarEntries } from "@longshore/archive";
import { EngineError, isErrno } from "@longshore/errors";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { checkName, DEFAULT_CONTEXT, type TlsFiles } from "../engine/contexts.ts";
import { contextsOf } from "../engine/host.ts";
import { openInput } from "../io/archive-file.ts";
import { print, printError, writeAll } from "../io/output.ts";
import { isTerminal } from "../io/terminal.ts";
import { isZip, zipEntries } from "../io/zip.ts";

const METADATA = "meta.json";
const TLS = /^tls\/([^/]+)\/([^/]+)$/;
/** As Docker has it; nobody's context is longer. */
const LIMIT_BYTES = 10 << 20;

/** Pack a context as Docker's own client does: `meta.json`, and what it has for TLS in `tls/ENDPOINT/FILE`. */
export const exportContext: Command = {
  name: "docker context export",
  usage: "CONTEXT [FILE|-]",
  summary: "Export a context to a tar archive FILE or a tar stream on STDOUT",
  arity: { min: 1, max: 2 },
  flags: [],
  async run({ args: [name = "", file = `${name}.dockercontext`] }) {
    if (name === DEFAULT_CONTEXT) throw new CliError('"default" is a reserved context name');
    const contexts = contextsOf(process.env);
    const { metadata, tls } = contexts.read(name);
    const tar = pack(metadata, tls);
    if (file === "-") {
      if (isTerminal(1))
        throw new CliError("cowardly refusing to export to a terminal, please specify a file path");
      writeAll(1, tar);
      return 0;
    }
    try {
      fs.writeFileSync(file, tar, { flag: "wx", mode: 0o600 });
    } catch (error) {
      if (isErrno(error, "EEXIST")) throw new CliError(`open ${file}: file exists`);
      throw new CliError(error instanceof Error ? error.message : String(error));
    }
    printError(`Written file ${JSON.stringify(file)}`);
    return 0;
  },
};

export const importContext: Command = {
  name: "docker context import",
  usage: "CONTEXT FILE|-",
  summary: "Import a context from a tar or zip file",
  arity: { min: 2, max: 2 },
  flags: [],
  async run({ args: [name = "", file = ""] }) {
    checkName(name);
    const contexts = contextsOf(process.env);
    if (contexts.has(name)) throw new CliError(`context ${JSON.stringify(name)} already exists`);
    const { metadata, tls } = await unpack(openInput(file));
    contexts.write(name, metadata, tls);
    print(name);
    printError(`Successfully imported context ${JSON.stringify(name)}`);
    return 0;
  },
};

function pack(metadata: Buffer, tls: TlsFiles): Buffer {
  const entries: [string, EntryType, number, Buffer][] = [[METADATA, "file", 0o644, metadata]];
  if (tls.size > 0) entries.push(["tls/", "directory", 0o700, Buffer.alloc(0)]);
  for (const [endpoint, files] of tls) {
    entries.push([`tls/${endpoint}/`, "directory", 0o700, Buffer.alloc(0)]);
    for (const [file, bytes] of files) entries.push([`tls/${endpoint}/${file}`, "file", 0o600, bytes]);
  }
  const common = { linkName: "", uid: 0, gid: 0, mtimeNs: 0n, atimeNs: 0n, major: 0, minor: 0 };
  const blocks = entries.flatMap(([name, type, mode, bytes]) => [
    headerBlocks({ ...common, name, type, mode, size: bytes.length, xattrs: new Map() }),
    bytes,
    contentPadding(bytes.length),
  ]);
  return Buffer.concat([...blocks, END_BLOCKS]);
}

/** What an archive has, without its directories: those of files are made with them. */
interface ContextFile {
  readonly name: string;
  readonly isFile: boolean;
  content(limitBytes: number): Buffer | Promise<Buffer>;
}

/** Of a zip archive, by its first bytes, or else a tar. @throws CliError for what is neither */
async function* contextFiles(source: AsyncIterable<Buffer>): AsyncGenerator<ContextFile> {
  const pieces = source[Symbol.asyncIterator]();
  const first = await pieces.next();
  const start: Buffer = first.done ? Buffer.alloc(0) : first.value;
  const whole = (async function* () {
    yield start;
    yield* { [Symbol.asyncIterator]: () => pieces };
  })();
  if (isZip(start)) {
    const entries = zipEntries(await readWhole(whole, LIMIT_BYTES));
    yield* entries.filter(({ name }) => !name.endsWith("/"));
    return;
  }
  try {
    for await (const { entry, content } of tarEntries(whole)) {
      if (entry.type === "directory") continue;
      const isFile = entry.type === "file";
      yield { name: entry.name, isFile, content: (limitBytes) => readWhole(content, limitBytes) };
    }
  } catch (error) {
    if (error instanceof EngineError) throw new CliError(`invalid context: ${error.message}`);
    throw error;
  }
}

/** @throws CliError for more than that */
async function readWhole(source: AsyncIterable<Uint8Array>, limitBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let total = 0;
  for await (const piece of source) {
    total += piece.length;
    if (total > limitBytes) throw new CliError("read exceeds the defined limit");
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces);
}

/** @throws CliError for what is no context, or more than one has */
async function unpack(source: AsyncIterable<Buffer>): Promise<{ metadata: object; tls: TlsFiles }> {
  let text: string | undefined;
  const tls = new Map<string, Map<string, Buffer>>();
  let left = LIMIT_BYTES;
  for await (const { name, isFile, content } of contextFiles(source)) {
    const [, endpoint, file] = TLS.exec(name) ?? [];
    const isPlain = endpoint !== ".." && endpoint !== "." && file !== ".." && file !== ".";
    if (!isFile || !isPlain || (name !== METADATA && endpoint === undefined))
      throw new CliError(`${name}: unexpected context file`);
    const bytes = await content(left);
    left -= bytes.length;
    if (endpoint === undefined || file === undefined) text = bytes.toString();
    else tls.set(endpoint, (tls.get(endpoint) ?? new Map()).set(file, bytes));
  }
  if (text === undefined) throw new CliError("invalid context: no metadata found");
  let metadata: unknown;
  try {
    metadata = JSON.parse(text);
  } catch (error) {
    throw new CliError(`invalid context: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata))
    throw new CliError("invalid context: its metadata is no object");
  return { metadata, tls };
}
