import { EngineError, type ErrorCode } from "@longshore/errors";

/** Of an answer that isn't what was asked for; others are the server's fault. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  400: "invalid_argument",
  401: "unauthenticated",
  403: "permission_denied",
  404: "not_found",
};

/** A file system to import, and where it comes from. */
export interface ImportSource {
  url: URL;
  stream: AsyncIterable<Buffer>;
}

/**
 * What is at an address, of http if it doesn't say.
 * @throws EngineError in Docker's words, by the status of the answer; `internal` when there is none
 */
export async function openAddress(origin: string, signal: AbortSignal): Promise<ImportSource> {
  const url = URL.parse(origin.includes("://") ? origin : `http://${origin}`);
  if (!url || !["http:", "https:"].includes(url.protocol)) {
    throw new EngineError("invalid_argument", `invalid fromSrc: ${origin}`);
  }
  const answer = await fetch(url, { signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw unreachable(url, error);
  });
  if (answer.ok && answer.body) return { url, stream: buffers(answer.body) };
  const said = (await answer.text()).trim();
  throw new EngineError(
    CODES[answer.status] ?? "internal",
    `failed to GET ${url} with status ${answer.status} ${answer.statusText}: ${said}`,
  );
}

function unreachable(url: URL, error: unknown): EngineError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  const [kind, why]: [ErrorCode, string] =
    code === "ConnectionRefused" || code === "ECONNREFUSED"
      ? ["internal", `dial tcp ${url.hostname}:${port}: connect: connection refused`]
      : code === "ENOTFOUND"
        ? ["not_found", `dial tcp: lookup ${url.hostname}: no such host`]
        : ["internal", error instanceof Error ? error.message : String(error)];
  return new EngineError(kind, `Get ${JSON.stringify(String(url))}: ${why}`, { cause: error });
}

async function* buffers(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const { buffer, byteOffset, length } of stream) yield Buffer.from(buffer, byteOffset, length);
}
