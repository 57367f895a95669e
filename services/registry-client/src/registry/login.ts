import { EngineError } from "@longshore/errors";
import type { Credentials } from "./credentials.ts";
import { type RegistryOptions, Session } from "./session.ts";

/**
 * Prove credentials at a registry.
 *
 * @returns the refresh token to keep instead of the password; empty when the registry gives none
 * @throws EngineError `unauthenticated` when they are not good
 */
export async function logIn(
  domain: string,
  credentials: Credentials,
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<string> {
  const session = new Session(domain, credentials, registry);
  return session.tryEach("push", signal, async (connection) => {
    const identityToken = await connection.authorizer.login(signal);
    if (identityToken !== undefined) return identityToken;
    const response = await session.request(connection, { method: "GET", target: "", scopes: [], signal });
    if (response.status === 200) {
      await response.discard();
      return "";
    }
    if (response.status !== 401) throw await session.refusal(response);
    await response.discard();
    throw new EngineError("unauthenticated", "unauthorized: incorrect username or password");
  });
}
