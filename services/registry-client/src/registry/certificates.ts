import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";

/** PEM texts for connections to one host. */
export interface Certificates {
  /** Authorities to trust beside the system's. */
  readonly ca: readonly string[];
  /** What we prove to be with. */
  readonly client?: { readonly cert: string; readonly key: string };
}

export const NO_CERTIFICATES: Certificates = { ca: [] };

/** Where Debian and most others keep the authorities that the administrator trusts. */
const SYSTEM_BUNDLES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/**
 * What Docker's `certs.d/<host[:port]>` holds: `*.crt` are authorities, `*.cert` with a `*.key` of the same name the client's own.
 *
 * @throws EngineError `invalid_argument` for a certificate without its key, a key without its certificate, and more than one of them
 */
export function readCertificates(dir: string): Certificates {
  const names = listDirectory(dir);
  const read = (name: string) => fs.readFileSync(path.join(dir, name), "utf8");
  const ca = names.filter((name) => name.endsWith(".crt")).map(read);
  const certs = names.filter((name) => name.endsWith(".cert"));
  for (const name of names.filter((name) => name.endsWith(".key"))) {
    const cert = `${name.slice(0, -".key".length)}.cert`;
    if (!names.includes(cert)) {
      throw invalid(`missing client certificate ${cert} for key ${name}`);
    }
  }
  const [cert] = certs;
  if (cert === undefined) return { ca };
  if (certs.length > 1) throw invalid(`more than one client certificate in ${dir} is not supported`);
  const key = `${cert.slice(0, -".cert".length)}.key`;
  if (!names.includes(key)) {
    throw invalid(
      `missing key ${key} for client certificate ${cert}. CA certificates must use the extension .crt`,
    );
  }
  return { ca, client: { cert: read(cert), key: read(key) } };
}

let system: string | undefined;

/** The system's own authorities, `SSL_CERT_FILE` before the usual places; empty when there are none. */
export function systemAuthorities(): string {
  system ??=
    [process.env.SSL_CERT_FILE, ...SYSTEM_BUNDLES].map(readOptional).find((text) => text !== "") ?? "";
  return system;
}

function readOptional(file: string | undefined): string {
  if (!file) return "";
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT", "EACCES")) return "";
    throw error;
  }
}

function listDirectory(dir: string): string[] {
  try {
    return fs.readdirSync(dir).sort();
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
