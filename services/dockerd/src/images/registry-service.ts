import {
  Credentials,
  type Hosts,
  type RegistryDefinition,
} from "@longshore/api/longshore/registry/v1/registry";
import type { ClientOf } from "@longshore/rpc";
import type { Settings } from "../config/settings.ts";

/** registry-client, and what it is to be told with each request. */
export interface RegistryService {
  client: ClientOf<typeof RegistryDefinition>;
  /** As the configuration has it now. */
  hosts(): Hosts;
}

/** More transfers than anybody has at once. */
const UNLIMITED = 65_535;

/** On the wire 0 is for what nobody has asked for. */
const limit = (given: number | undefined) => (given === 0 ? UNLIMITED : (given ?? 0));

/** How registries are reached, by the daemon's settings. */
export function registryHosts({ insecureRegistries, registryMirrors, proxies, transfers }: Settings): Hosts {
  return {
    insecureRegistries,
    mirrors: registryMirrors,
    // Where there is none, registry-client has its own.
    proxies,
    transfers: {
      maxDownloads: limit(transfers.maxDownloads),
      maxUploads: limit(transfers.maxUploads),
      maxAttempts: transfers.maxAttempts ?? 0,
    },
  };
}

/** Credentials of the `X-Registry-Auth` header, base64url of JSON; what is none counts as nobody's, as with Docker. */
export function credentialsOf(header: string | string[] | undefined): Credentials | undefined {
  if (typeof header !== "string" || header === "") return undefined;
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(Buffer.from(header, "base64url").toString()) as Record<string, unknown>;
  } catch {
    return undefined;
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
