import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import tls from "node:tls";
import { EngineError, isErrno } from "@longshore/errors";

/** Files of the daemon's TLS, PEM all. */
export interface TlsFiles {
  cert: string;
  key: string;
  /** Who signs the certificates that clients must show; undefined: clients need none. */
  ca: string | undefined;
}

/** What was asked for about TLS; undefined is what nobody said. */
export interface TlsRequest {
  tls: boolean | undefined;
  tlsverify: boolean | undefined;
  tlscacert: string | undefined;
  tlscert: string | undefined;
  tlskey: string | undefined;
}

/** For node's servers. */
export interface TlsKeys {
  cert: Buffer;
  key: Buffer;
  ca?: Buffer;
  requestCert: boolean;
  rejectUnauthorized: boolean;
  minVersion: "TLSv1.2";
}

/**
 * What TLS the daemon speaks on its TCP ports, by Docker's rules: `tlsverify` means TLS whatever its value, and TLS means that clients must
 * show a certificate unless `tlsverify` is false. Files that aren't named are those of `DOCKER_CERT_PATH` or `~/.docker`.
 *
 * @returns undefined for no TLS
 * @throws EngineError `invalid_argument` when clients are to be verified and nobody says by what
 */
export function tlsFiles(request: TlsRequest): TlsFiles | undefined {
  const { tls: wanted, tlsverify, tlscacert, tlscert, tlskey } = request;
  if (wanted === false && tlsverify === true)
    throw invalid("invalid TLS configuration: tlsverify and tls=false contradict each other");
  if (!(wanted ?? tlsverify !== undefined)) return undefined;
  const directory = process.env.DOCKER_CERT_PATH || path.join(os.homedir(), ".docker");
  const found = (given: string | undefined, name: string) => given || path.join(directory, name);
  return {
    cert: found(tlscert, "cert.pem"),
    key: found(tlskey, "key.pem"),
    ca: (tlsverify ?? true) ? found(tlscacert, "ca.pem") : undefined,
  };
}

/**
 * Read the files and see whether they hold and belong together.
 * @throws EngineError `invalid_argument` in Docker's words
 */
export function readTls({ cert, key, ca }: TlsFiles): TlsKeys {
  const pair = `(cert: ${JSON.stringify(cert)}, key: ${JSON.stringify(key)})`;
  const read = (file: string, what: string) => {
    try {
      return fs.readFileSync(file);
    } catch (error) {
      const why = isErrno(error, "ENOENT") ? "no such file or directory" : String(error);
      throw invalid(`invalid TLS configuration: could not ${what}: open ${file}: ${why}`);
    }
  };
  const keys: TlsKeys = {
    cert: read(cert, `load X509 key pair ${pair}`),
    key: read(key, `load X509 key pair ${pair}`),
    ...(ca !== undefined && { ca: read(ca, `read CA certificate ${JSON.stringify(ca)}`) }),
    requestCert: ca !== undefined,
    rejectUnauthorized: ca !== undefined,
    minVersion: "TLSv1.2",
  };
  if (keys.ca && !keys.ca.includes("-----BEGIN CERTIFICATE-----"))
    throw invalid(
      `invalid TLS configuration: failed to append certificates from PEM file: ${JSON.stringify(ca)}`,
    );
  try {
    tls.createSecureContext(keys);
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    throw invalid(
      `invalid TLS configuration: could not load X509 key pair ${pair}: ${why}. Make sure the key is not encrypted`,
    );
  }
  return keys;
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
