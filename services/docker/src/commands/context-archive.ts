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
  summary: "Import a context from a tar file",
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

/** @throws CliError for what is no context, or more than one has */
async function unpack(source: AsyncIterable<Buffer>): Promise<{ metadata: object; tls: TlsFiles }> {
  let text: string | undefined;
  const tls = new Map<string, Map<string, Buffer>>();
  let total = 0;
  try {
    for await (const { entry, content } of tarEntries(source)) {
      if (entry.type === "directory") continue; // those of files are made with them
      const [, endpoint, file] = TLS.exec(entry.name) ?? [];
      const isPlain = endpoint !== ".." && endpoint !== "." && file !== ".." && file !== ".";
      if (entry.type !== "file" || !isPlain || (entry.name !== METADATA && endpoint === undefined))
        throw new CliError(`${entry.name}: unexpected context file`);
      const pieces: Buffer[] = [];
      for await (const piece of content) {
        total += piece.length;
        if (total > LIMIT_BYTES) throw new CliError("read exceeds the defined limit");
        pieces.push(Buffer.from(piece));
      }
      const bytes = Buffer.concat(pieces);
      if (endpoint === undefined || file === undefined) text = bytes.toString();
      else tls.set(endpoint, (tls.get(endpoint) ?? new Map()).set(file, bytes));
    }
  } catch (error) {
    if (error instanceof EngineError) throw new CliError(`invalid context: ${error.message}`);
    throw error;
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
