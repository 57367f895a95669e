import type { Credentials } from "./credentials.ts";

export interface Token {
  readonly value: string;
  /** In ms since 1970. */
  readonly expiresAt: number;
}

/** For whom and what a token is. */
export interface TokenKey {
  readonly realm: string;
  readonly service: string;
  readonly scopes: readonly string[];
  readonly credentials: Credentials;
}

/** A token is renewed when it has less than this left. */
const MARGIN_MS = 10_000;
const REMEMBERED = 500;

/** Access tokens by what they are for, so that one is asked for once however many requests and pulls need it. */
export class TokenCache {
  readonly #tokens = new Map<string, Token>();
  readonly #pending = new Map<string, Promise<Token>>();

  /** The token that is there, or what `fetch` gets; callers who ask for the same one meanwhile share it. */
  async get(key: TokenKey, fetch: () => Promise<Token>): Promise<string> {
    const name = nameOf(key);
    const known = this.#tokens.get(name);
    if (known && known.expiresAt - MARGIN_MS > Date.now()) return known.value;
    this.#tokens.delete(name);
    const pending = this.#pending.get(name);
    if (pending) {
      const shared = await pending.catch(() => undefined);
      // Another caller's failure (he may have been cancelled) says nothing about ours.
      return shared?.value ?? this.get(key, fetch);
    }
    const fetching = fetch();
    this.#pending.set(name, fetching);
    try {
      const token = await fetching;
      this.#tokens.set(name, token);
      const [oldest] = this.#tokens.keys();
      if (oldest !== undefined && this.#tokens.size > REMEMBERED) this.#tokens.delete(oldest);
      return token.value;
    } finally {
      this.#pending.delete(name);
    }
  }

  /** The registry did not take the token. */
  forget(key: TokenKey): void {
    this.#tokens.delete(nameOf(key));
  }
}

/** Of the credentials only a digest is kept. */
function nameOf({ realm, service, scopes, credentials }: TokenKey): string {
  const { username, password, identityToken } = credentials;
  const identity = new Bun.CryptoHasher("sha256").update(JSON.stringify([username, password, identityToken]));
  return JSON.stringify([realm, service, identity.digest("hex"), ...scopes]);
}
