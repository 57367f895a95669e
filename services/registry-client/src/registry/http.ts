import { VERSION } from "@longshore/cli";
import { EngineError, toEngineError } from "@longshore/errors";
import { type Certificates, systemAuthorities } from "./certificates.ts";
import { isLoopbackHost } from "./endpoint.ts";
import { type ProxySettings, proxyFor } from "./proxies.ts";
import { backoff, retryAfterMs } from "./retry.ts";

/** How the hosts of one registry are reached. */
export interface Via {
  /** Accept any certificate, and plain http after a redirect. */
  readonly insecure: boolean;
  /** For the connections to a host: that of the registry, or one that it leads to. */
  readonly certificates: (host: string) => Certificates;
  readonly proxies: ProxySettings;
}

/** A body that is made while it is sent, and anew for each attempt. */
export interface StreamedBody {
  readonly bytes: number;
  readonly pieces: () => AsyncIterable<Uint8Array>;
}

export interface HttpRequest {
  method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  url: URL;
  headers?: Readonly<Record<string, string>> | undefined;
  body?: string | Uint8Array<ArrayBuffer> | StreamedBody | undefined;
  via: Via;
  /** Attempts in all. */
  attempts?: number | undefined;
  /** The first request to a host: when no connection can be made it fails at once, as a wrong address should. */
  firstContact?: boolean;
  signal: AbortSignal;
}

export interface HttpResponse {
  status: number;
  statusText: string;
  headers: Headers;
  /** The body; ends with an error when nothing came for a while. Reading less than all of it closes the connection. */
  body: AsyncIterable<Uint8Array>;
  /** At most `limitBytes` of the body. @throws EngineError `resource_exhausted` when it is longer */
  bytes(limitBytes: number): Promise<Buffer<ArrayBuffer>>;
  /** Give up the body. */
  discard(): Promise<void>;
}

export interface HttpLimits {
  /** Until the headers of the answer. */
  headersMs: number;
  /** Between two pieces of a body. */
  idleMs: number;
  /** For a whole document, such as a manifest or a token. */
  documentMs: number;
  /** The first pause before another attempt; it doubles each time. */
  backoffMs: number;
  /** Attempts of a request that doesn't say, in all. */
  attempts?: number;
}

export const DEFAULT_LIMITS: HttpLimits = {
  headersMs: 30_000,
  idleMs: 30_000,
  documentMs: 120_000,
  backoffMs: 500,
};

const ATTEMPTS = 5;
const REDIRECTS = 5;
/** A registry that asks for a longer pause gets no further attempt. */
const RETRY_AFTER_MAX_MS = 60_000;
const RETRIED = new Set([408, 429, 500, 502, 503, 504]);

/**
 * Send a request and follow its redirects, with another attempt after answers and connection errors that may pass.
 * `Authorization` is never sent to a host other than that of `url`.
 *
 * @throws EngineError `unavailable` in the words of Docker (Go) when no answer was had
 */
export async function send(request: HttpRequest, limits: HttpLimits): Promise<HttpResponse> {
  const attempts = request.attempts ?? limits.attempts ?? ATTEMPTS;
  for (let attempt = 1; ; attempt += 1) {
    const last = attempt >= attempts;
    let pauseMs = backoff(attempt, limits.backoffMs);
    try {
      const response = await follow(request, limits);
      if (last || !RETRIED.has(response.status)) return response;
      const asked = retryAfterMs(response.headers.get("retry-after"));
      if (asked !== undefined && asked > RETRY_AFTER_MAX_MS) return response;
      await response.discard();
      pauseMs = asked ?? pauseMs;
    } catch (error) {
      request.signal.throwIfAborted();
      if (last || request.firstContact || toEngineError(error).code !== "unavailable") throw error;
    }
    await pause(pauseMs, request.signal);
  }
}

/** Wait, or throw the signal's reason. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(done, ms);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    function done() {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

const FOR_ANYBODY = ["user-agent", "accept", "accept-encoding", "range", "content-type", "content-range"];

function pick(headers: Record<string, string>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => names.includes(name)));
}

async function follow(request: HttpRequest, limits: HttpLimits): Promise<HttpResponse> {
  let url = request.url;
  let headers: Record<string, string> = {
    "user-agent": `longshore/${VERSION}`,
    "accept-encoding": "identity",
    ...request.headers,
  };
  for (let redirects = 0; ; redirects += 1) {
    const response = await fetchOnce({ ...request, url, headers }, limits);
    const location = response.headers.get("location");
    if (location === null || ![301, 302, 303, 307, 308].includes(response.status)) return response;
    await response.discard();
    if (redirects >= REDIRECTS) {
      throw new EngineError(
        "unknown",
        `${verb(request.method)} ${JSON.stringify(shown(url))}: stopped after ${REDIRECTS} redirects`,
      );
    }
    const next = redirectTarget(location, url, request.via.insecure);
    // Neither who we are nor what a hosts.toml adds for the registry is anybody else's business.
    if (next.origin !== url.origin) headers = pick(headers, FOR_ANYBODY);
    url = next;
  }
}

function redirectTarget(location: string, from: URL, plainHttp: boolean): URL {
  const next = URL.parse(location, from.href);
  if (!next || (next.protocol !== "https:" && next.protocol !== "http:")) {
    throw new EngineError("unknown", `${JSON.stringify(shown(from))} redirects to an invalid location`);
  }
  if (next.protocol === "http:" && !plainHttp && !isLoopbackHost(next.host)) {
    throw new EngineError(
      "permission_denied",
      `${JSON.stringify(shown(from))} redirects to plain http, which is not allowed`,
    );
  }
  next.username = "";
  next.password = "";
  return next;
}

async function fetchOnce(request: HttpRequest, limits: HttpLimits): Promise<HttpResponse> {
  const { method, url, headers, body, signal } = request;
  signal.throwIfAborted();
  // One controller per request: its timers and its reader abort the connection, as does the caller.
  const abort = new AbortController();
  const onAbort = () => abort.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const release = () => signal.removeEventListener("abort", onAbort);
  const expire = () => abort.abort(timeout(request, "awaiting headers"));
  let timer = setTimeout(expire, limits.headersMs);
  const sent = () => {
    clearTimeout(timer);
    timer = setTimeout(expire, limits.headersMs);
  };
  try {
    const proxy = proxyFor(url, request.via.proxies);
    const response = await fetch(url, {
      method,
      redirect: "manual",
      signal: abort.signal,
      decompress: false,
      headers: { ...headers, ...(isStreamed(body) && { "content-length": String(body.bytes) }) },
      ...(body !== undefined && { body: isStreamed(body) ? noting(body.pieces(), sent) : body }),
      ...(url.protocol === "https:" && { tls: tlsOptions(request.via, url.host) }),
      ...(proxy !== undefined && { proxy }),
    });
    return answer(request, response, { abort, release, limits });
  } catch (error) {
    release();
    throw connectionError(request, signal.aborted ? signal.reason : (abort.signal.reason ?? error), signal);
  } finally {
    clearTimeout(timer);
  }
}

function isStreamed(body: HttpRequest["body"]): body is StreamedBody {
  return typeof body === "object" && "pieces" in body;
}

/** As long as a body moves its request doesn't time out. */
async function* noting(pieces: AsyncIterable<Uint8Array>, onPiece: () => void): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    onPiece();
    yield piece;
  }
  onPiece();
}

function tlsOptions(
  { insecure, certificates }: Via,
  host: string,
): Bun.TLSOptions & { rejectUnauthorized: boolean } {
  const { ca, client } = certificates(host);
  const authorities = [...ca, systemAuthorities()].filter(Boolean);
  return {
    rejectUnauthorized: !insecure,
    ...(!insecure && authorities.length > 0 && { ca: authorities }),
    ...(client && { cert: client.cert, key: client.key }),
  };
}

function answer(
  request: HttpRequest,
  response: Response,
  { abort, release, limits }: { abort: AbortController; release: () => void; limits: HttpLimits },
): HttpResponse {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    const reader = response.body?.getReader();
    try {
      if (!reader) return;
      for (;;) {
        const expire = () => abort.abort(timeout(request, "awaiting more of the body"));
        const timer = setTimeout(expire, limits.idleMs);
        try {
          const { done, value } = await reader.read();
          if (done) return;
          yield value;
        } finally {
          clearTimeout(timer);
        }
      }
    } catch (error) {
      throw connectionError(request, abort.signal.aborted ? abort.signal.reason : error, request.signal);
    } finally {
      release();
      abort.abort();
    }
  }
  const body = pieces();
  return {
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
    body,
    async bytes(limitBytes) {
      const parts: Uint8Array[] = [];
      let length = 0;
      // One that comes a byte at a time would be waited for for ever.
      const timer = setTimeout(() => abort.abort(timeout(request, "reading the body")), limits.documentMs);
      try {
        for await (const part of body) {
          length += part.length;
          if (length > limitBytes) {
            throw new EngineError(
              "resource_exhausted",
              `${shown(request.url)}: answer is longer than ${limitBytes} bytes`,
            );
          }
          parts.push(part);
        }
      } finally {
        clearTimeout(timer);
      }
      return Buffer.concat(parts);
    },
    async discard() {
      release();
      abort.abort();
      await response.body?.cancel().catch(() => undefined); // it was aborted: cancel can only say so
    },
  };
}

const GO_ERRORS: Readonly<Record<string, (url: URL) => string>> = {
  ECONNREFUSED: (url) => `dial tcp ${dialled(url)}: connect: connection refused`,
  ENOTFOUND: (url) => `dial tcp: lookup ${url.hostname}: no such host`,
  EHOSTUNREACH: (url) => `dial tcp ${dialled(url)}: connect: no route to host`,
  ENETUNREACH: (url) => `dial tcp ${dialled(url)}: connect: network is unreachable`,
  ETIMEDOUT: (url) => `dial tcp ${dialled(url)}: i/o timeout`,
  ECONNRESET: () => "connection reset by peer",
  Malformed_HTTP_Response: () => "net/http: HTTP/1.x transport connection broken: malformed HTTP response",
};

const UNKNOWN_AUTHORITY = () => "x509: certificate signed by unknown authority";
const TLS_ERRORS: Readonly<Record<string, (url: URL) => string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_AUTHORITY,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_AUTHORITY,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_AUTHORITY,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_AUTHORITY,
  CERT_HAS_EXPIRED: () => "x509: certificate has expired or is not yet valid",
  CERT_NOT_YET_VALID: () => "x509: certificate has expired or is not yet valid",
  ERR_TLS_CERT_ALTNAME_INVALID: (url) => `x509: certificate is not valid for ${url.hostname}`,
};

function connectionError(request: HttpRequest, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted || error instanceof EngineError) return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const text = error instanceof Error ? error.message : String(error);
  const why = GO_ERRORS[code]?.(request.url) ?? TLS_ERRORS[code]?.(request.url) ?? text;
  const tls = code in TLS_ERRORS || code === "EPROTO" || /CERT|TLS|SSL/.test(code);
  return new EngineError(
    tls ? "failed_precondition" : "unavailable",
    `${verb(request.method)} ${JSON.stringify(shown(request.url))}: ${tls ? "tls: " : ""}${why}`,
    { cause: error },
  );
}

function timeout(request: HttpRequest, during: string): EngineError {
  return new EngineError(
    "unavailable",
    `${verb(request.method)} ${JSON.stringify(shown(request.url))}: timed out while ${during}`,
  );
}

function dialled(url: URL): string {
  return `${url.hostname}:${url.port || (url.protocol === "https:" ? 443 : 80)}`;
}

/** As Go's net/http names a method in errors. */
function verb(method: string): string {
  return method[0] + method.slice(1).toLowerCase();
}

/** A URL for people: a query may hold a signature or a token. */
function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}
