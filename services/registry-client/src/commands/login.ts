import { UsageError } from "@longshore/cli";
import type { Arguments } from "../cli/command.ts";
import { openConfig } from "../cli/open-config.ts";
import { readPassword, registryOptions } from "../cli/registry-arguments.ts";
import { ANONYMOUS } from "../registry/credentials.ts";
import { logIn } from "../registry/login.ts";

const HUB = "docker.io";

/** `login [HOST]`: with what stdin gives, or with what is kept already. */
export async function login(args: Arguments, signal: AbortSignal): Promise<number> {
  const domain = domainOf(args);
  const config = openConfig(args.text("config"));
  const username = args.text("username") ?? "";
  const given = args.flag("password-stdin");
  if (given !== (username !== "")) throw new UsageError("--username and --password-stdin go together");
  const credentials = given
    ? { ...ANONYMOUS, username, password: await readPassword() }
    : await config.get(domain, signal);
  if (!credentials.username && !credentials.identityToken) {
    throw new UsageError(`no credentials for ${domain} are kept: give --username and --password-stdin`);
  }
  const identityToken = await logIn(domain, credentials, registryOptions(args), signal);
  const kept = identityToken ? { ...credentials, identityToken, password: "" } : credentials;
  const where = await config.put(domain, kept, signal);
  console.error(`Credentials are kept by ${where}`);
  console.log("Login Succeeded");
  return 0;
}

/** `logout [HOST]` */
export async function logout(args: Arguments, signal: AbortSignal): Promise<number> {
  const domain = domainOf(args);
  const config = openConfig(args.text("config"));
  const known = await config.remove(domain, signal);
  console.log(known ? `Removing login credentials for ${domain}` : `Not logged in to ${domain}`);
  return 0;
}

/** A host; a URL is taken as well, as docker does. */
function domainOf(args: Arguments): string {
  const host = (args.positionals[0] ?? HUB).replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  if (!/^[\w.:[\]-]+$/.test(host))
    throw new UsageError(`${JSON.stringify(args.positionals[0])} is no registry host`);
  return host === "index.docker.io" ? HUB : host;
}
