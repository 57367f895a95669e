import { EngineError } from "@longshore/errors";
import { type Challenge, parseChallenges } from "./challenge.ts";
import { basicAuthorization, type Credentials } from "./credentials.ts";
import { isLoopbackHost } from "./endpoint.ts";
import type { HttpLimits, Via } from "./http.ts";
import { printable } from "./printable.ts";
import { joinScopes } from "./scopes.ts";
import type { TokenCache, TokenKey } from "./token-cache.ts";
import { fetchToken } from "./token-server.ts";

export interface AuthorizerOptions {
  credentials: Credentials;
  /** How the registry is reached; its token server is reached with the same certificates and proxies. */
  via: Via;
  limits: HttpLimits;
  tokens: TokenCache;
}

/**
 * Answers a registry's challenges: anonymous, Basic, or Bearer with tokens of the named realm.
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  /** What the registry wanted besides, by what we had asked for. */
  readonly #more = new Map<string, string[]>();
  #challenge: Challenge | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** Whether the registry wants any proof. */
  get challenge(): Challenge | undefined {
    return this.#challenge;
  }

  /**
   * Take what a 401 said. Bearer comes before Basic, as it keeps the password from all but the token server.
   * @param scopes of the request that was refused; its token is not used again
   */
  learn(header: string | null, scopes: readonly string[]): void {
    if (this.#challenge?.scheme === "bearer") this.#options.tokens.forget(this.#key(this.#challenge, scopes));
    const challenges = parseChallenges(header ?? "");
    this.#challenge =
      challenges.find(({ scheme }) => scheme === "bearer") ??
      challenges.find(({ scheme }) => scheme === "basic");
    const asked = this.#challenge?.parameters.scope?.split(" ").filter(Boolean) ?? [];
    if (asked.length > 0) this.#more.set(joinScopes(scopes).join(" "), asked);
    if (this.#challenge?.scheme === "bearer") this.#options.tokens.forget(this.#key(this.#challenge, scopes));
  }

  /**
   * The value of `Authorization` for a request; undefined when none is asked for.
   * @throws EngineError `unauthenticated` without the credentials that are asked for, or when the token server refuses them
   */
  async authorization(scopes: readonly string[], signal: AbortSignal): Promise<string | undefined> {
    const { credentials, tokens, via, limits } = this.#options;
    if (credentials.registryToken) return `Bearer ${credentials.registryToken}`;
    if (this.#challenge?.scheme === "basic") {
      if (!credentials.username) throw new EngineError("unauthenticated", "no basic auth credentials");
      return basicAuthorization(credentials);
    }
    if (this.#challenge?.scheme !== "bearer") return undefined;
    const key = this.#key(this.#challenge, scopes);
    const realm = this.#realm(key.realm);
    const token = await tokens.get(key, async () => {
      const answer = await fetchToken({ ...key, realm }, { via, limits, signal });
      return { value: answer.token, expiresAt: Date.now() + answer.lifeS * 1000 };
    });
    return `Bearer ${token}`;
  }

  /**
   * Log in at the token server: proves that the credentials are good, and gives the refresh token to keep, empty when there is none.
   * Undefined when the registry has no token server.
   */
  async login(signal: AbortSignal): Promise<string | undefined> {
    if (this.#challenge?.scheme !== "bearer") return undefined;
    const { via, limits } = this.#options;
    const key = this.#key(this.#challenge, []);
    const request = { ...key, realm: this.#realm(key.realm), offline: true };
    return (await fetchToken(request, { via, limits, signal })).refreshToken;
  }

  #key({ parameters }: Challenge, scopes: readonly string[]): TokenKey {
    const own = joinScopes(scopes);
    return {
      realm: parameters.realm ?? "",
      service: parameters.service ?? "",
      scopes: joinScopes([...own, ...(this.#more.get(own.join(" ")) ?? [])]),
      credentials: this.#options.credentials,
    };
  }

  /** The token server. It gets our credentials, hence never over plain http beyond this machine. */
  #realm(realm: string): URL {
    const url = URL.parse(realm);
    if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) {
      throw new EngineError(
        "unauthenticated",
        `invalid token server ${JSON.stringify(printable(realm, 200))} in the registry's challenge`,
      );
    }
    if (url.protocol === "http:" && !isLoopbackHost(url.host) && !this.#options.via.insecure) {
      throw new EngineError(
        "permission_denied",
        `token server ${url.origin} is on plain http, which is not allowed`,
      );
    }
    return url;
  }
}
