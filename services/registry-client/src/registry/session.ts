import { EngineError, toEngineError } from "@longshore/errors";
import type { Reference } from "@longshore/reference";
import { Authorizer } from "./authorizer.ts";
import { ANONYMOUS, type Credentials } from "./credentials.ts";
import type { Capability, Endpoint } from "./endpoint.ts";
import { certificatesFor, endpointsOf, type HostOptions } from "./hosts.ts";
import {
  DEFAULT_LIMITS,
  type HttpLimits,
  type HttpRequest,
  type HttpResponse,
  send,
  type Via,
} from "./http.ts";
import type { ProxySettings } from "./proxies.ts";
import { type RateLimit, rateLimitOf } from "./rate-limit.ts";
import { registryError } from "./registry-error.ts";
import { TokenCache } from "./token-cache.ts";

/** A server without TLS may wait for ever for the rest of what it takes for a request. */
const TLS_TRIAL_MS = 5000;
const ERROR_BODY_LIMIT = 1 << 20;
const NO_PROXIES: ProxySettings = { httpProxy: "", httpsProxy: "", noProxy: "" };

export interface RegistryOptions extends HostOptions {
  limits?: HttpLimits;
  proxies?: ProxySettings;
  /** Shared, so that tokens outlive one pull. */
  tokens?: TokenCache;
}

/** An endpoint that has answered. */
export interface Connection {
  /** `http(s)://host[:port]/v2` */
  readonly api: string;
  readonly endpoint: Endpoint;
  readonly via: Via;
  readonly authorizer: Authorizer;
}

export interface ApiRequest extends Pick<HttpRequest, "method" | "headers" | "body" | "attempts" | "signal"> {
  /** Below `/v2/`, or a URL that the registry gave. */
  target: string | URL;
  /** What the token must allow. */
  scopes: readonly string[];
}

/** The registry of one domain, or its mirrors, as one user sees it. */
export class Session {
  readonly domain: string;
  readonly limits: HttpLimits;
  readonly #options: RegistryOptions;
  readonly #credentials: Credentials;
  readonly #tokens: TokenCache;
  readonly #connections = new Map<Endpoint, Promise<Connection>>();
  #endpoints: readonly Endpoint[] | undefined;
  #rateLimit: RateLimit | undefined;

  constructor(domain: string, credentials: Credentials, options: RegistryOptions) {
    this.domain = domain;
    this.limits = options.limits ?? DEFAULT_LIMITS;
    this.#options = options;
    this.#credentials = credentials;
    this.#tokens = options.tokens ?? new TokenCache();
  }

  /** What the registry last said about how much may be pulled. */
  get rateLimit(): RateLimit | undefined {
    return this.#rateLimit;
  }

  /** Run a request at the first endpoint that can answer it; the last one's error counts. */
  async tryEach<T>(
    capability: Capability,
    signal: AbortSignal,
    run: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    this.#endpoints ??= endpointsOf(this.domain, this.#options);
    let failure: unknown = new EngineError(
      "unavailable",
      `no host of ${this.domain} is configured for ${capability}`,
    );
    for (const endpoint of this.#endpoints) {
      if (!endpoint.capabilities.includes(capability)) continue;
      try {
        return await run(await this.#connect(endpoint, signal));
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  /**
   * A request with the proof of identity that the registry wants.
   * @throws EngineError `unauthenticated` in Docker's words
   */
  async request(connection: Connection, { target, scopes, ...request }: ApiRequest): Promise<HttpResponse> {
    const { api, endpoint, via, authorizer } = connection;
    const url = target instanceof URL ? new URL(target) : new URL(`${api}/${target}`);
    const own = url.origin === new URL(api).origin;
    if (endpoint.namespace !== undefined && own) url.searchParams.set("ns", endpoint.namespace);
    for (let attempt = 1; ; attempt += 1) {
      // A registry may have uploads go to another host: that one gets no proof.
      const authorization = own ? await this.#authorization(connection, url, request, scopes) : undefined;
      const response = await send(
        {
          ...request,
          url,
          headers: {
            ...(own && endpoint.headers),
            ...request.headers,
            ...(authorization !== undefined && { authorization }),
          },
          via,
        },
        this.limits,
      );
      this.#rateLimit = rateLimitOf(response.headers) ?? this.#rateLimit;
      // Once more with a fresh token: the first may have expired, or not cover this scope.
      if (response.status !== 401 || attempt > 1 || !own) return response;
      const challenge = response.headers.get("www-authenticate");
      if (challenge === null) return response;
      await response.discard();
      authorizer.learn(challenge, scopes);
    }
  }

  /** A request to anybody, who is told nothing about us. */
  fetchForeign(request: Omit<HttpRequest, "via">): Promise<HttpResponse> {
    const proxies = this.#options.proxies ?? NO_PROXIES;
    const via = {
      insecure: false,
      proxies,
      certificates: (host: string) => certificatesFor(host, this.#options),
    };
    return send({ ...request, via }, this.limits);
  }

  /** What an answer that is no success says, in Docker's words. */
  async refusal(response: HttpResponse, subject?: Reference, action?: "pull" | "push"): Promise<EngineError> {
    const body = (await response.bytes(ERROR_BODY_LIMIT)).toString();
    const contentType = response.headers.get("content-type") ?? "";
    return registryError(
      { status: response.status, statusText: response.statusText, contentType, body },
      subject,
      action,
    );
  }

  async #authorization(
    { authorizer }: Connection,
    url: URL,
    { method, signal }: Pick<HttpRequest, "method" | "signal">,
    scopes: readonly string[],
  ): Promise<string | undefined> {
    try {
      return await authorizer.authorization(scopes, signal);
    } catch (error) {
      const { code, message } = toEngineError(error);
      if (code !== "unauthenticated") throw error;
      const verb = method[0] + method.slice(1).toLowerCase();
      const shown = JSON.stringify(url.origin + url.pathname);
      throw new EngineError(code, `${verb} ${shown}: ${message}`, { cause: error });
    }
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
    const { api, insecure } = endpoint;
    const via = this.#via(endpoint);
    const candidates = insecure && api.startsWith("https:") ? [api, api.replace("https:", "http:")] : [api];
    let failure: unknown;
    for (const candidate of candidates) {
      try {
        const response = await send(
          {
            method: "GET",
            url: new URL(`${candidate}/`),
            headers: endpoint.headers,
            via,
            firstContact: true,
            signal,
          },
          candidates.length > 1 && candidate === api
            ? { ...this.limits, headersMs: TLS_TRIAL_MS }
            : this.limits,
        );
        if (response.status >= 500) throw await this.refusal(response);
        await response.discard();
        const credentials = endpoint.mirror ? ANONYMOUS : this.#credentials;
        const authorizer = new Authorizer({ credentials, via, limits: this.limits, tokens: this.#tokens });
        if (response.status === 401) authorizer.learn(response.headers.get("www-authenticate"), []);
        return { api: candidate, endpoint, via, authorizer };
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  #via({ api, insecure, certificates }: Endpoint): Via {
    const { host } = new URL(api);
    return {
      insecure,
      proxies: this.#options.proxies ?? NO_PROXIES,
      certificates: (to) => {
        if (to === host) return certificates;
        // A private authority often signs the blob store too, but who we are there is for its own directory to say.
        const theirs = certificatesFor(to, this.#options);
        return { ...theirs, ca: [...theirs.ca, ...certificates.ca] };
      },
    };
  }
}
