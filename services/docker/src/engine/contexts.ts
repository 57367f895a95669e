import fs from "node:fs";
import path from "node:path";
import { isErrno } from "@longshore/errors";
import { CliError } from "../cli-error.ts";
import { type ClientTls, readTls } from "./tls.ts";

/** The one that is always there: what `-H` and the environment say. */
export const DEFAULT_CONTEXT = "default";
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$/;
const ENDPOINT = "docker";

/** An engine by a name of the user's. */
export interface Context {
  readonly name: string;
  readonly description: string;
  /** `unix://…` or `tcp://…` */
  readonly host: string;
  /** Don't ask a host with TLS who it is. */
  readonly skipVerify?: boolean;
}

/** Files of a context's TLS, by endpoint and name. */
export type TlsFiles = ReadonlyMap<string, ReadonlyMap<string, Buffer>>;

/**
 * The contexts of a configuration directory, in files as Docker's own client keeps them:
 * `contexts/meta/<sha256 of the name>/meta.json`, and `currentContext` in `config.json`.
 */
export class Contexts {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** By name, without the default one. */
  list(): Context[] {
    const root = path.join(this.#directory, "contexts/meta");
    return entries(root)
      .flatMap((id) => readContext(path.join(root, id)) ?? [])
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws CliError in Docker's words */
  get(name: string): Context {
    const found = checkName(name) && readContext(this.metadataPath(name));
    if (!found) throw new CliError(`context ${JSON.stringify(name)} does not exist`);
    return found;
  }

  has(name: string): boolean {
    return readContext(this.metadataPath(name)) !== undefined;
  }

  /** The TLS of a context that Docker's own client has given files for it; undefined when there are none. */
  tls({ name, skipVerify = false }: Context): ClientTls | undefined {
    const directory = path.join(this.tlsPath(name), ENDPOINT);
    return fs.existsSync(directory) ? readTls({ verify: !skipVerify }, directory) : undefined;
  }

  put({ name, description, host, skipVerify = false }: Context): void {
    checkName(name);
    const directory = this.metadataPath(name);
    fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
    const Endpoints = { [ENDPOINT]: { Host: host, SkipTLSVerify: skipVerify } };
    const Metadata = description === "" ? {} : { Description: description };
    writeWhole(path.join(directory, "meta.json"), JSON.stringify({ Name: name, Metadata, Endpoints }));
  }

  /** All that is kept of a context. @throws CliError in Docker's words for none */
  read(name: string): { metadata: Buffer; tls: TlsFiles } {
    this.get(name);
    const root = this.tlsPath(name);
    const filesOf = (endpoint: string) =>
      entries(path.join(root, endpoint)).map(
        (file) => [file, fs.readFileSync(path.join(root, endpoint, file))] as const,
      );
    return {
      metadata: fs.readFileSync(path.join(this.metadataPath(name), "meta.json")),
      tls: new Map(entries(root).map((endpoint) => [endpoint, new Map(filesOf(endpoint))])),
    };
  }

  /** Keep a context that comes from elsewhere. @param metadata as in `meta.json`, under whatever name */
  write(name: string, metadata: object, tls: TlsFiles): void {
    checkName(name);
    for (const [endpoint, files] of tls) {
      const directory = path.join(this.tlsPath(name), endpoint);
      fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
      for (const [file, bytes] of files) fs.writeFileSync(path.join(directory, file), bytes, { mode: 0o600 });
    }
    // The last: by it the context is there.
    const directory = this.metadataPath(name);
    fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
    writeWhole(path.join(directory, "meta.json"), JSON.stringify({ ...metadata, Name: name }));
  }

  remove(name: string): void {
    for (const directory of [this.metadataPath(name), this.tlsPath(name)])
      fs.rmSync(directory, { recursive: true, force: true });
  }

  metadataPath(name: string): string {
    return path.join(this.#directory, "contexts/meta", idOf(name));
  }

  tlsPath(name: string): string {
    return path.join(this.#directory, "contexts/tls", idOf(name));
  }

  /** The one that the configuration names; the default one when it names none. */
  current(): string {
    const { currentContext } = this.#config();
    return typeof currentContext === "string" && currentContext !== "" ? currentContext : DEFAULT_CONTEXT;
  }

  use(name: string): void {
    const { currentContext: _, ...rest } = this.#config();
    const config = name === DEFAULT_CONTEXT ? rest : { ...rest, currentContext: name };
    fs.mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    writeWhole(path.join(this.#directory, "config.json"), `${JSON.stringify(config, null, "\t")}\n`);
  }

  #config(): Record<string, unknown> {
    const file = path.join(this.#directory, "config.json");
    const text = readText(file);
    if (text === undefined || text.trim() === "") return {};
    try {
      return JSON.parse(text) as Record<string, unknown>;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new CliError(`${file}: ${why}`);
    }
  }
}

/** @throws CliError for a name that none can have */
export function checkName(name: string): true {
  if (name === "") throw new CliError("context name cannot be empty");
  if (name === DEFAULT_CONTEXT) throw new CliError('"default" is a reserved context name');
  if (!NAME.test(name)) {
    throw new CliError(
      `context name ${JSON.stringify(name)} is invalid, names are validated against regexp ${JSON.stringify(NAME.source)}`,
    );
  }
  return true;
}

function idOf(name: string): string {
  return new Bun.CryptoHasher("sha256").update(name).digest("hex");
}

interface Metadata {
  Name?: string;
  Metadata?: { Description?: string };
  Endpoints?: Record<string, { Host?: string; SkipTLSVerify?: boolean }>;
}

function readContext(directory: string): Context | undefined {
  const file = path.join(directory, "meta.json");
  const text = readText(file);
  if (text === undefined) return undefined;
  let json: Metadata;
  try {
    json = JSON.parse(text) as Metadata;
  } catch (error) {
    throw new CliError(`${file}: ${error instanceof Error ? error.message : error}`);
  }
  return {
    name: json.Name ?? "",
    description: json.Metadata?.Description ?? "",
    host: json.Endpoints?.[ENDPOINT]?.Host ?? "",
    skipVerify: json.Endpoints?.[ENDPOINT]?.SkipTLSVerify ?? false,
  };
}

function readText(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

function entries(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}

/** Who reads it meanwhile sees the old one or the new one. */
function writeWhole(file: string, text: string): void {
  const temporary = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(temporary, text, { mode: 0o600 });
  fs.renameSync(temporary, file);
}
