import {
  Credentials,
  type Hosts,
  type RegistryDefinition,
} from "@longshore/api/longshore/registry/v1/registry";
import { EngineError } from "@longshore/errors";
import type { ClientOf } from "@longshore/rpc";

/** registry-client, and what it is to be told with each request. */
export interface RegistryService {
  client: ClientOf<typeof RegistryDefinition>;
  /** As the configuration has it now. */
  hosts(): Hosts;
}

/**
 * Credentials of the `X-Registry-Auth` header: base64url of JSON.
 * @throws EngineError `invalid_argument`
 */
export function credentialsOf(header: string | string[] | undefined): Credentials | undefined {
  if (typeof header !== "string" || header === "") return undefined;
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(Buffer.from(header, "base64url").toString()) as Record<string, unknown>;
  } catch {
    throw new EngineError("invalid_argument", "invalid X-Registry-Auth header: not base64url of JSON");
  }
  const text = (key: string) => (typeof value?.[key] === "string" ? value[key] : "");
  const credentials = Credentials.fromPartial({
    username: text("username"),
    password: text("password"),
    identityToken: text("identitytoken"),
    registryToken: text("registrytoken"),
  });
  const given = credentials.username + credentials.identityToken + credentials.registryToken;
  return given === "" ? undefined : credentials;
}
