import type { Credentials } from "@longshore/docker-config";

export { ANONYMOUS, type Credentials } from "@longshore/docker-config";

export function isAnonymous({ username, identityToken, registryToken }: Credentials): boolean {
  return username + identityToken + registryToken === "";
}

/** The value of `Authorization` for Basic. */
export function basicAuthorization({
  username,
  password,
}: Pick<Credentials, "username" | "password">): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}
