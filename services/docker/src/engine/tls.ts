import fs from "node:fs";
import path from "node:path";
import { isErrno } from "@longshore/errors";
import { CliError } from "../cli-error.ts";

/** What a connection is secured with. */
export interface ClientTls {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  /** Whether the engine must be who it says it is. */
  readonly verify: boolean;
}

/** What the command line says about TLS; files by path, undefined where it names none. */
export interface TlsFlags {
  readonly tls?: boolean | undefined;
  readonly verify?: boolean | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * TLS as flags and environment ask for it, undefined when they don't: `--tls`, `--tlsverify` (which asks for it whatever its value),
 * `DOCKER_TLS`, `DOCKER_TLS_VERIFY`, and files `ca.pem`, `cert.pem`, `key.pem` of `DOCKER_CERT_PATH` or the configuration directory.
 * @throws CliError for a file that can't be read, or a certificate without its key
 */
export function clientTls(flags: TlsFlags, env: Environment): ClientTls | undefined {
  const verify = flags.verify ?? Boolean(env.DOCKER_TLS_VERIFY);
  if (!verify && flags.verify === undefined && !flags.tls && !env.DOCKER_TLS) return undefined;
  const directory = env.DOCKER_CERT_PATH || env.DOCKER_CONFIG || path.join(env.HOME ?? "/root", ".docker");
  return readTls({ ...flags, verify }, directory);
}

/** The TLS files of a directory, or those that are named instead; those of the directory need not be there. */
export function readTls(
  { ca, cert, key, verify }: TlsFlags & { verify: boolean },
  directory: string,
): ClientTls {
  const read = (given: string | undefined, name: string) =>
    given === undefined ? readIfThere(path.join(directory, name)) : readNamed(given);
  const files = { ca: read(ca, "ca.pem"), cert: read(cert, "cert.pem"), key: read(key, "key.pem") };
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new CliError("a certificate for TLS must be given with its key");
  }
  return { ...files, verify };
}

function readNamed(file: string): Buffer {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    const why = isErrno(error, "ENOENT") ? "no such file or directory" : String(error);
    throw new CliError(`could not read ${file}: ${why}`);
  }
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return fs.readFileSync(file);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}
