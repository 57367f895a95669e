import { EngineError } from "@longshore/errors";

export interface Login {
  readonly username: string;
  readonly secret: string;
}

/** A program `docker-credential-NAME` that keeps credentials. */
export interface CredentialHelper {
  readonly name: string;
  /** Undefined when it keeps none for the server. */
  get(server: string, signal: AbortSignal): Promise<Login | undefined>;
  store(server: string, login: Login, signal: AbortSignal): Promise<void>;
  erase(server: string, signal: AbortSignal): Promise<void>;
}

const NOT_FOUND = "credentials not found in native keychain";
const OUTPUT_LIMIT = 1 << 20;

/**
 * The helper of a name, found on PATH.
 * @param environment variables that it gets beside ours
 * @throws EngineError `invalid_argument` for a name that could lead elsewhere
 * @see https://github.com/docker/docker-credential-helpers
 */
export function credentialHelper(
  name: string,
  environment: Readonly<Record<string, string>> = {},
): CredentialHelper {
  if (!/^[\w.-]+$/.test(name)) {
    throw new EngineError("invalid_argument", `invalid credential helper ${JSON.stringify(name)}`);
  }
  const ask = async (action: string, input: string, signal: AbortSignal): Promise<string | undefined> => {
    const { out, code } = await run([`docker-credential-${name}`, action], { input, environment, signal });
    if (code === 0) return out;
    if (out.includes(NOT_FOUND)) return undefined;
    throw new EngineError(
      "unknown",
      `docker-credential-${name} ${action}: exit status ${code}, out: \`${out.trim().slice(0, 300)}\``,
    );
  };
  return {
    name,
    async get(server, signal) {
      const out = await ask("get", server, signal);
      return out === undefined ? undefined : parseLogin(out, name);
    },
    async store(server, { username, secret }, signal) {
      await ask("store", JSON.stringify({ ServerURL: server, Username: username, Secret: secret }), signal);
    },
    async erase(server, signal) {
      await ask("erase", server, signal);
    },
  };
}

/** @throws EngineError `unknown` for an answer that is none; it is not shown, for it may hold the secret */
export function parseLogin(out: string, name: string): Login | undefined {
  try {
    const { Username, Secret } = JSON.parse(out) as Record<string, unknown>;
    if (typeof Username === "string" && typeof Secret === "string") {
      return Username === "" && Secret === "" ? undefined : { username: Username, secret: Secret };
    }
  } catch {
    // Said below.
  }
  throw new EngineError("unknown", `docker-credential-${name} gave no credentials`);
}

interface RunOptions {
  input: string;
  environment: Readonly<Record<string, string>>;
  signal: AbortSignal;
}

async function run(
  command: readonly [string, string],
  { input, environment, signal }: RunOptions,
): Promise<{ out: string; code: number }> {
  let child: Bun.Subprocess<Buffer<ArrayBuffer>, "pipe", "inherit">;
  try {
    child = Bun.spawn([...command], {
      stdin: Buffer.from(input),
      stdout: "pipe",
      stderr: "inherit",
      signal,
      maxBuffer: OUTPUT_LIMIT,
      env: { ...process.env, ...environment },
    });
  } catch (error) {
    throw new EngineError("not_found", `${command[0]}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
  const [out, code] = await Promise.all([child.stdout.text(), child.exited]);
  signal.throwIfAborted();
  return { out, code };
}
