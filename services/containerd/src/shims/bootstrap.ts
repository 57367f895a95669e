import fs from "node:fs";
import path from "node:path";
import { BootstrapResult } from "@longshore/api/containerd/runtime/bootstrap/v1/bootstrap";
import { EngineError, isErrno } from "@longshore/errors";

/** How to reach a shim. */
export interface Bootstrap {
  /** Version of the task API, 2 or 3. */
  version: number;
  /** `unix:///path`. */
  address: string;
  protocol: "ttrpc" | "grpc";
}

const NEWEST_VERSION = 3;
const FILE = "bootstrap.json";

/**
 * What `<shim> start` printed: a plain address (containerd 1.6, 1.7), JSON (2.0 to 2.2) or a protobuf BootstrapResult (2.3).
 * @throws EngineError `unimplemented` for a version or protocol we don't speak, `internal` for what is no answer at all
 */
export function parseBootstrapAnswer(answer: Uint8Array): Bootstrap {
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength);
  const text = bytes.toString("utf8").trim();
  if (text === "") throw new EngineError("internal", "the shim printed no address");
  if (text.startsWith("{")) return checked(parseJson(text));
  // A protobuf message begins with a field's tag, no letter of an address's scheme and a colon after it.
  if (/^[a-z][a-z0-9+]*:\/\/[\x20-\x7e]+$/.test(text)) {
    return checked({ version: 2, address: text, protocol: "ttrpc" });
  }
  return checked(parseProtobuf(bytes, text));
}

/** Keep the answer in the bundle, for when the daemon comes back. */
export function writeBootstrap(bundle: string, { version, address, protocol }: Bootstrap): void {
  const file = path.join(bundle, FILE);
  fs.writeFileSync(`${file}.part`, JSON.stringify({ version, address, protocol }));
  fs.renameSync(`${file}.part`, file);
}

/**
 * The answer kept in a bundle; where none was kept, the plain `address` that a shim writes itself.
 * @returns undefined when the bundle has neither: its shim was never started
 */
export function readBootstrap(bundle: string): Bootstrap | undefined {
  const kept = readIfThere(path.join(bundle, FILE)) ?? readIfThere(path.join(bundle, "address"));
  return kept === undefined || kept.length === 0 ? undefined : parseBootstrapAnswer(kept);
}

/** The file system path of a shim's address; undefined when it isn't a unix socket's. */
export function socketPath(address: string): string | undefined {
  return address.startsWith("unix://") ? address.slice("unix://".length) : undefined;
}

interface Unchecked {
  version: number;
  address: string;
  protocol: string;
}

function parseJson(text: string): Unchecked {
  let parsed: Partial<Record<keyof Unchecked, unknown>>;
  try {
    parsed = JSON.parse(text) as typeof parsed;
  } catch (cause) {
    throw new EngineError("internal", `the shim printed no answer: ${shown(text)}`, { cause });
  }
  return {
    version: Number(parsed.version ?? 0),
    address: String(parsed.address ?? ""),
    protocol: String(parsed.protocol ?? ""),
  };
}

function parseProtobuf(bytes: Buffer, text: string): Unchecked {
  try {
    return BootstrapResult.decode(bytes);
  } catch (cause) {
    throw new EngineError("internal", `the shim printed no answer: ${shown(text)}`, { cause });
  }
}

function checked({ version, address, protocol }: Unchecked): Bootstrap {
  if (version > NEWEST_VERSION || version < 2) {
    throw new EngineError("unimplemented", `unsupported shim version (${version})`);
  }
  const wire = protocol.toLowerCase();
  if (wire !== "ttrpc" && wire !== "grpc") {
    throw new EngineError("unimplemented", `unexpected protocol: ${JSON.stringify(protocol)}`);
  }
  if (socketPath(address) === undefined) {
    throw new EngineError("unimplemented", `unsupported shim address: ${shown(address)}`);
  }
  return { version, address, protocol: wire };
}

function shown(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
