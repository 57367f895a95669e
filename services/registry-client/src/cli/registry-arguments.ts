import { UsageError } from "@longshore/cli";
import { type Platform, parsePlatform } from "@longshore/oci";
import { parseReference, type Reference, withDefaultTag } from "@longshore/reference";
import { ANONYMOUS, type Credentials } from "../registry/credentials.ts";
import { takeProxySettings } from "../registry/proxies.ts";
import type { RegistryOptions } from "../registry/session.ts";
import { TokenCache } from "../registry/token-cache.ts";
import type { Arguments } from "./command.ts";
import { openConfig } from "./open-config.ts";

const CERTS_DIR = "/etc/docker/certs.d";
export const CONTAINERD_SOCKET = "/run/longshore/containerd/containerd.sock";

/** From the options of `REGISTRY`, and the proxies of the environment. */
export function registryOptions(args: Arguments): RegistryOptions {
  const mirrors = args.list("registry-mirror");
  for (const mirror of mirrors) {
    const url = URL.parse(mirror);
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash) {
      throw new UsageError(`--registry-mirror wants an http(s) URL without credentials or query: ${mirror}`);
    }
  }
  const certsDirs = args.list("certs-dir");
  return {
    insecureRegistries: args.list("insecure-registry"),
    mirrors,
    certsDirs: certsDirs.length > 0 ? certsDirs : [CERTS_DIR],
    proxies: takeProxySettings(),
    tokens: new TokenCache(),
  };
}

/** Who we are at a registry: by the options of `LOGIN`, else by Docker's config. */
export async function credentialsFor(
  args: Arguments,
  domain: string,
  signal: AbortSignal,
): Promise<Credentials> {
  const username = args.text("username") ?? "";
  if (args.flag("password-stdin") !== (username !== "")) {
    throw new UsageError("--username and --password-stdin go together");
  }
  if (username !== "") return { ...ANONYMOUS, username, password: await readPassword() };
  return openConfig(args.text("config")).get(domain, signal);
}

let password: Promise<string> | undefined;

/** All of stdin but the last line's end; read once, for it may be needed for two registries. */
export function readPassword(): Promise<string> {
  password ??= Bun.stdin.text().then((text) => text.replace(/\r?\n$/, ""));
  return password;
}

export function imageArgument(args: Arguments, index = 0): Reference {
  return withDefaultTag(parseReference(args.positional(index)));
}

export function platformArgument(args: Arguments): Platform | undefined {
  const text = args.text("platform");
  return text === undefined ? undefined : parsePlatform(text);
}

/** Whether JSON is wanted. @throws UsageError for other formats */
export function wantsJson(args: Arguments): boolean {
  const format = args.text("format");
  if (format !== undefined && format !== "json") throw new UsageError(`--format knows json, not ${format}`);
  return format === "json";
}
