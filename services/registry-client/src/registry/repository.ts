import { EngineError, toEngineError } from "@longshore/errors";
import type { Reference } from "@longshore/reference";
import { ACCEPT } from "../media-types.ts";
import { ANONYMOUS, Authorizer, type Credentials } from "./authorizer.ts";
import { type Endpoint, endpointsOf, type HostOptions } from "./hosts.ts";
import { DEFAULT_LIMITS, type HttpLimits, type HttpRequest, type HttpResponse, send } from "./http.ts";
import { registryError } from "./registry-error.ts";

/** A manifest or index is refused when it is longer; the originals have the same limit. */
export const MANIFEST_LIMIT_BYTES = 4 << 20;
/** A server without TLS may wait for ever for the rest of what it takes for a request. */
const TLS_TRIAL_MS = 5000;
const ERROR_BODY_LIMIT = 1 << 20;

export interface RegistryOptions extends HostOptions {
  limits?: HttpLimits;
}

export interface ManifestAnswer {
  bytes: Buffer;
  /** Without parameters; empty when the registry named none. */
  contentType: string;
  /** What the registry says the digest is; empty when it does not say. */
  digest: string;
}

export interface BlobAnswer {
  /** Where in the blob the body starts: the offset asked for, or 0 from a registry that can't do ranges. */
  start: number;
  body: AsyncIterable<Uint8Array>;
}

/** An endpoint that has answered. */
interface Connection {
  base: string;
  insecure: boolean;
  authorizer: Authorizer;
}

/** One repository, at the registry of its domain or at a mirror of that. */
export class Repository {
  readonly reference: Reference;
  readonly #endpoints: readonly Endpoint[];
  readonly #credentials: Credentials;
  readonly #limits: HttpLimits;
  readonly #connections = new Map<Endpoint, Promise<Connection>>();

  constructor(reference: Reference, credentials: Credentials, options: RegistryOptions) {
    this.reference = reference;
    this.#endpoints = endpointsOf(reference.domain, options);
    this.#credentials = credentials;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
  }

  /** The digest that a tag has now, by HEAD; undefined when the registry does not tell it that way. */
  head(tagOrDigest: string, signal: AbortSignal): Promise<string | undefined> {
    return this.#tryEach(signal, async (connection) => {
      const response = await this.#request(connection, {
        method: "HEAD",
        path: `manifests/${tagOrDigest}`,
        headers: { accept: ACCEPT },
        attempts: 1,
        signal,
      }).catch((error: unknown) => {
        // A registry may dislike HEAD; GET then tells the reason, or works.
        if (toEngineError(error).code === "unavailable") return undefined;
        throw error;
      });
      await response?.discard();
      return response?.status === 200
        ? (response.headers.get("docker-content-digest") ?? undefined)
        : undefined;
    });
  }

  /**
   * A manifest or index, not yet verified.
   * @throws EngineError `not_found`, `unauthenticated` and others in Docker's words; `resource_exhausted` above 4 MiB
   */
  manifest(tagOrDigest: string, signal: AbortSignal): Promise<ManifestAnswer> {
    return this.#tryEach(signal, async (connection) => {
      const path = `manifests/${tagOrDigest}`;
      const response = await this.#request(connection, {
        method: "GET",
        path,
        headers: { accept: ACCEPT },
        signal,
      });
      if (response.status !== 200) throw await this.#refusal(response);
      const bytes = await response.bytes(MANIFEST_LIMIT_BYTES);
      const contentType = (response.headers.get("content-type") ?? "").split(";")[0]?.trim() ?? "";
      return { bytes, contentType, digest: response.headers.get("docker-content-digest") ?? "" };
    });
  }

  /**
   * The content of a blob from an offset on, not yet verified.
   * @throws EngineError `out_of_range` when the registry holds less than `offset`
   */
  blob(digest: string, offset: number, signal: AbortSignal): Promise<BlobAnswer> {
    return this.#tryEach(signal, async (connection) => {
      const headers: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
      const response = await this.#request(connection, {
        method: "GET",
        path: `blobs/${digest}`,
        headers,
        signal,
      });
      if (response.status === 200) return { start: 0, body: response.body };
      if (response.status === 206 && startOf(response) === offset)
        return { start: offset, body: response.body };
      if (response.status === 206 || response.status === 416) {
        await response.discard();
        throw new EngineError("out_of_range", `blob ${digest}: the registry can't go on at byte ${offset}`);
      }
      throw await this.#refusal(response);
    });
  }

  /** Run a request at the first endpoint that can answer it; the last one's error counts. */
  async #tryEach<T>(signal: AbortSignal, run: (connection: Connection) => Promise<T>): Promise<T> {
    let failure: unknown;
    for (const endpoint of this.#endpoints) {
      try {
        return await run(await this.#connect(endpoint, signal));
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  #connect(endpoint: Endpoint, signal: AbortSignal): Promise<Connection> {
    const known = this.#connections.get(endpoint);
    if (known) return known;
    const connecting = this.#ping(endpoint, signal);
    this.#connections.set(endpoint, connecting);
    connecting.catch(() => {
      // A caller that was cancelled must not leave its error to the others; an unreachable endpoint stays so.
      if (signal.aborted) this.#connections.delete(endpoint);
    });
    return connecting;
  }

  /** Find out whether it answers, over https or (where that is acceptable) http, and what proof it wants. */
  async #ping(endpoint: Endpoint, signal: AbortSignal): Promise<Connection> {
    const { base, insecure } = endpoint;
    const bases = insecure && base.startsWith("https:") ? [base, base.replace("https:", "http:")] : [base];
    let failure: unknown;
    for (const candidate of bases) {
      try {
        const response = await send(
          {
            method: "GET",
            url: new URL(`${candidate}/v2/`),
            insecureTls: insecure,
            plainHttp: insecure,
            firstContact: true,
            signal,
          },
          bases.length > 1 && candidate === base
            ? { ...this.#limits, headersMs: TLS_TRIAL_MS }
            : this.#limits,
        );
        if (response.status >= 500) throw await this.#refusal(response);
        await response.discard();
        const authorizer = new Authorizer({
          credentials: endpoint.mirror ? ANONYMOUS : this.#credentials,
          scope: `repository:${this.reference.path}:pull`,
          insecure,
          limits: this.#limits,
        });
        if (response.status === 401) authorizer.learn(response.headers.get("www-authenticate"));
        return { base: candidate, insecure, authorizer };
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  async #request(
    { base, insecure, authorizer }: Connection,
    {
      path,
      headers,
      ...rest
    }: Pick<HttpRequest, "method" | "headers" | "attempts" | "signal"> & { path: string },
  ): Promise<HttpResponse> {
    const url = new URL(`${base}/v2/${this.reference.path}/${path}`);
    for (let attempt = 1; ; attempt += 1) {
      const authorization = await authorizer.authorization(rest.signal).catch((error: unknown) => {
        const { code, message } = toEngineError(error);
        if (code !== "unauthenticated") throw error;
        const verb = rest.method[0] + rest.method.slice(1).toLowerCase();
        throw new EngineError(code, `${verb} ${JSON.stringify(url.href)}: ${message}`, { cause: error });
      });
      const response = await send(
        {
          ...rest,
          url,
          headers: { ...headers, ...(authorization !== undefined && { authorization }) },
          insecureTls: insecure,
          plainHttp: insecure,
        },
        this.#limits,
      );
      // Once more with a fresh token: the first may have expired, or not cover this scope.
      if (response.status !== 401 || attempt > 1) return response;
      const challenge = response.headers.get("www-authenticate");
      if (challenge === null) return response;
      await response.discard();
      authorizer.learn(challenge);
    }
  }

  async #refusal(response: HttpResponse): Promise<EngineError> {
    const body = (await response.bytes(ERROR_BODY_LIMIT)).toString();
    const contentType = response.headers.get("content-type") ?? "";
    return registryError(
      { status: response.status, statusText: response.statusText, contentType, body },
      this.reference,
    );
  }
}

function startOf(response: HttpResponse): number | undefined {
  const [, start] = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "") ?? [];
  return start === undefined ? undefined : Number(start);
}
