import fs from "node:fs";
import path from "node:path";
import { CliError } from "../cli-error.ts";

interface ConfigFile {
  auths?: Record<string, { auth?: string; identitytoken?: string; registrytoken?: string }>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
}

/** The key under which the credentials of Docker Hub are kept. */
const HUB_KEY = "https://index.docker.io/v1/";
const TOKEN_USER = "<token>";

/**
 * The `X-Registry-Auth` header for a registry from the user's config.json (`DOCKER_CONFIG`, `~/.docker`): a credential helper of
 * that host, else the common one, else the file itself. Undefined when nothing is kept.
 */
export async function registryAuth(domain: string): Promise<string | undefined> {
  const config = readConfig();
  if (!config) return undefined;
  const key = domain === "docker.io" ? HUB_KEY : domain;
  const helper = config.credHelpers?.[key] ?? config.credHelpers?.[domain] ?? config.credsStore;
  const found = helper ? await askHelper(helper, key) : fromFile(config, key);
  if (!found) return undefined;
  return Buffer.from(JSON.stringify({ ...found, serveraddress: key })).toString("base64url");
}

function readConfig(): ConfigFile | undefined {
  const dir = process.env.DOCKER_CONFIG ?? path.join(process.env.HOME ?? "/root", ".docker");
  const file = path.join(dir, "config.json");
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch {
    return undefined; // most have none
  }
  try {
    return JSON.parse(text) as ConfigFile;
  } catch (error) {
    throw new CliError(`error reading ${file}: ${error instanceof Error ? error.message : error}`);
  }
}

function fromFile({ auths = {} }: ConfigFile, key: string): Record<string, string> | undefined {
  const bare = (name: string) => name.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  const entry = auths[key] ?? Object.entries(auths).find(([name]) => bare(name) === bare(key))?.[1];
  if (!entry) return undefined;
  const [username = "", ...rest] = Buffer.from(entry.auth ?? "", "base64")
    .toString()
    .split(":");
  const password = rest.join(":").replace(/\0+$/, "");
  return {
    ...(username && { username, password }),
    ...(entry.identitytoken && { identitytoken: entry.identitytoken }),
    ...(entry.registrytoken && { registrytoken: entry.registrytoken }),
  };
}

async function askHelper(name: string, server: string): Promise<Record<string, string> | undefined> {
  const program = `docker-credential-${name}`;
  const child = (() => {
    try {
      return Bun.spawn([program, "get"], { stdin: Buffer.from(server), stdout: "pipe", stderr: "ignore" });
    } catch (error) {
      throw new CliError(
        `error getting credentials - err: ${error instanceof Error ? error.message : error}`,
      );
    }
  })();
  const [text, code] = await Promise.all([child.stdout.text(), child.exited]);
  if (code !== 0) {
    if (text.includes("credentials not found in native keychain")) return undefined;
    throw new CliError(`error getting credentials - err: exit status ${code}, out: \`${text.trim()}\``);
  }
  const { Username, Secret } = JSON.parse(text) as { Username: string; Secret: string };
  return Username === TOKEN_USER ? { identitytoken: Secret } : { username: Username, password: Secret };
}
