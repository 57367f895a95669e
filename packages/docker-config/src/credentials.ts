/** How to prove who we are to a registry; empty strings where a kind is not set. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** A refresh token, exchanged for access tokens by OAuth2. */
  readonly identityToken: string;
  /** An access token, used as it is. */
  readonly registryToken: string;
}

export const ANONYMOUS: Credentials = { username: "", password: "", identityToken: "", registryToken: "" };
