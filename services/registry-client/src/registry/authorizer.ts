import { EngineError } from "@longshore/errors";
import type { Challenge } from "./challenge.ts";
import { parseChallenges } from "./challenge.ts";
import { isLoopbackHost } from "./hosts.ts";
import { type HttpLimits, send } from "./http.ts";

/** How to prove who we are; empty strings where a kind is not set. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** A refresh token, exchanged for access tokens by OAuth2. */
  readonly identityToken: string;
  /** An access token, used as it is. */
  readonly registryToken: string;
}

export const ANONYMOUS: Credentials = { username: "", password: "", identityToken: "", registryToken: "" };

const CLIENT_ID = "longshore";
const TOKEN_BODY_LIMIT = 1 << 20;
/** A token is renewed when it has less than this left. */
const TOKEN_MARGIN_MS = 10_000;
/** The life of a token that does not tell it, by the token specification. */
const TOKEN_LIFE_S = 60;

/**
 * Answers a registry's challenges: anonymous, Basic, or Bearer with tokens of the named realm, for one scope.
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export class Authorizer {
  readonly #credentials: Credentials;
  readonly #limits: HttpLimits;
  readonly #insecure: boolean;
  readonly #scopes: Set<string>;
  #challenge: Challenge | undefined;
  #token: { value: string; expiresAt: number } | undefined;
  #pending: Promise<string> | undefined;

  constructor(options: { credentials: Credentials; scope: string; insecure: boolean; limits: HttpLimits }) {
    this.#credentials = options.credentials;
    this.#limits = options.limits;
    this.#insecure = options.insecure;
    this.#scopes = new Set([options.scope]);
  }

  /** Take what a 401 said. Bearer comes before Basic, as it keeps the password from all but the token server. */
  learn(header: string | null): void {
    const challenges = parseChallenges(header ?? "");
    this.#challenge =
      challenges.find(({ scheme }) => scheme === "bearer") ??
      challenges.find(({ scheme }) => scheme === "basic");
    for (const scope of this.#challenge?.parameters.scope?.split(" ") ?? [])
      if (scope) this.#scopes.add(scope);
    this.#token = undefined;
  }

  /**
   * The value of `Authorization` for the next request; undefined when none is asked for.
   * @throws EngineError `unauthenticated` without the credentials that are asked for, or when the token server refuses them
   */
  async authorization(signal: AbortSignal): Promise<string | undefined> {
    const { registryToken, username, password } = this.#credentials;
    if (registryToken) return `Bearer ${registryToken}`;
    if (this.#challenge?.scheme === "basic") {
      if (!username) throw new EngineError("unauthenticated", "no basic auth credentials");
      return basic(username, password);
    }
    if (this.#challenge?.scheme !== "bearer") return undefined;
    if (this.#token && this.#token.expiresAt - TOKEN_MARGIN_MS > Date.now())
      return `Bearer ${this.#token.value}`;
    const challenge = this.#challenge;
    this.#pending ??= this.#fetchToken(challenge, signal).finally(() => {
      this.#pending = undefined;
    });
    return `Bearer ${await this.#pending}`;
  }

  async #fetchToken({ parameters }: Challenge, signal: AbortSignal): Promise<string> {
    const realm = this.#realm(parameters.realm ?? "");
    const service = parameters.service ?? "";
    const { username, password, identityToken } = this.#credentials;
    const response = identityToken
      ? await send(
          {
            method: "POST",
            url: realm,
            headers: { "content-type": "application/x-www-form-urlencoded" },
            body: new URLSearchParams({
              grant_type: "refresh_token",
              refresh_token: identityToken,
              service,
              client_id: CLIENT_ID,
              scope: [...this.#scopes].join(" "),
            }).toString(),
            insecureTls: this.#insecure,
            signal,
          },
          this.#limits,
        )
      : await send(
          {
            method: "GET",
            url: withQuery(realm, service, this.#scopes),
            ...(username && { headers: { authorization: basic(username, password) } }),
            insecureTls: this.#insecure,
            signal,
          },
          this.#limits,
        );
    const body = (await response.bytes(TOKEN_BODY_LIMIT)).toString();
    const where = `token server ${JSON.stringify(realm.origin + realm.pathname)}`;
    if (response.status === 401 || response.status === 403) {
      const code = response.status === 401 ? "unauthenticated" : "permission_denied";
      throw new EngineError(code, `${where} refused: unauthorized: ${messageOf(body)}`);
    }
    if (response.status !== 200) {
      const code = response.status >= 500 ? "unavailable" : "unknown";
      throw new EngineError(code, `${where} answered ${response.status}: ${messageOf(body)}`);
    }
    const { token, lifeS } = parseToken(body, where);
    this.#token = { value: token, expiresAt: Date.now() + lifeS * 1000 };
    return token;
  }

  /** The token server. It gets our credentials, hence never over plain http beyond this machine. */
  #realm(realm: string): URL {
    const url = URL.parse(realm);
    if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) {
      throw new EngineError(
        "unauthenticated",
        `invalid token server ${JSON.stringify(realm)} in the registry's challenge`,
      );
    }
    if (url.protocol === "http:" && !isLoopbackHost(url.host) && !this.#insecure) {
      throw new EngineError(
        "permission_denied",
        `token server ${url.origin} is on plain http, which is not allowed`,
      );
    }
    return url;
  }
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function withQuery(realm: URL, service: string, scopes: Iterable<string>): URL {
  const url = new URL(realm);
  if (service) url.searchParams.append("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  return url;
}

function parseToken(body: string, where: string): { token: string; lifeS: number } {
  const fields = jsonObject(body);
  const token = fields?.token || fields?.access_token;
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
    throw new EngineError("unauthenticated", `${where} gave no token`);
  }
  const life = fields?.expires_in;
  return { token, lifeS: typeof life === "number" && life > TOKEN_LIFE_S ? life : TOKEN_LIFE_S };
}

function messageOf(body: string): string {
  const fields = jsonObject(body);
  const [first] = Array.isArray(fields?.errors) ? (fields.errors as unknown[]) : [];
  const message =
    typeof first === "object" && first !== null && "message" in first
      ? first.message
      : (fields?.details ?? body);
  return String(message).slice(0, 300).trim() || "authentication required";
}

function jsonObject(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // not JSON: the caller says what is missing
  }
}
