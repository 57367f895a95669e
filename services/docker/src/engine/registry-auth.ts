import { type Credentials, DockerConfig, keyOf } from "@longshore/docker-config";

/** A credential helper that doesn't answer must not hold a command up for ever. */
const HELPER_TIMEOUT_MS = 60_000;

/**
 * The `X-Registry-Auth` header for a registry from the user's config.json. Undefined when nothing is kept.
 * @throws EngineError for a file or a credential helper that makes no sense
 */
export async function registryAuth(domain: string): Promise<string | undefined> {
  const kept = await DockerConfig.read().get(domain, AbortSignal.timeout(HELPER_TIMEOUT_MS));
  const fields = authFields(kept, domain);
  if (Object.keys(fields).length === 1) return undefined;
  return Buffer.from(JSON.stringify(fields)).toString("base64url");
}

/** Credentials as the API takes them. */
export function authFields(credentials: Credentials, domain: string): Record<string, string> {
  const { username, password, identityToken, registryToken } = credentials;
  return {
    ...(username && { username, password }),
    ...(identityToken && { identitytoken: identityToken }),
    ...(registryToken && { registrytoken: registryToken }),
    serveraddress: keyOf(domain),
  };
}
