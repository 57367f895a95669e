import { ANONYMOUS, DockerConfig } from "@longshore/docker-config";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { authFields } from "../engine/registry-auth.ts";
import { askLine, askSecret, readInput } from "../io/ask.ts";
import { print, printError } from "../io/output.ts";
import { isTerminal } from "../io/terminal.ts";

const HUB = "docker.io";
const HELPER_TIMEOUT_MS = 60_000;

export const login: Command = {
  name: "docker login",
  usage: "[OPTIONS] [SERVER]",
  summary: "Authenticate to a registry",
  arity: { min: 0, max: 1 },
  flags: [
    { name: "password", short: "p", kind: "string", help: "Password or Personal Access Token (PAT)" },
    {
      name: "password-stdin",
      kind: "bool",
      help: "Take the Password or Personal Access Token (PAT) from stdin",
    },
    { name: "username", short: "u", kind: "string", help: "Username" },
  ],
  async run({ client, flags, args: [server = ""] }) {
    const domain = domainOf(server);
    const config = DockerConfig.read();
    const given = askFor(flags.string("username"), flags.string("password"), flags.bool("password-stdin"));
    if (flags.has("password")) {
      printError("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    const credentials = { ...ANONYMOUS, ...given };
    const { Status, IdentityToken } = await client.json<{ Status: string; IdentityToken?: string }>({
      method: "POST",
      path: "/auth",
      json: authFields(credentials, domain),
    });
    const kept = IdentityToken ? { ...credentials, identityToken: IdentityToken, password: "" } : credentials;
    const where = await config.put(domain, kept, AbortSignal.timeout(HELPER_TIMEOUT_MS));
    if (where === config.file) {
      printError(`\nWARNING! Your credentials are stored unencrypted in '${where}'.`);
      printError("Configure a credential helper to remove this warning.\n");
    }
    print(Status);
    return 0;
  },
};

export const logout: Command = {
  name: "docker logout",
  usage: "[SERVER]",
  summary: "Log out from a registry",
  arity: { min: 0, max: 1 },
  flags: [],
  async run({ args: [server = ""] }) {
    const domain = domainOf(server);
    const shown = domain === HUB ? "https://index.docker.io/v1/" : domain;
    const known = await DockerConfig.read().remove(domain, AbortSignal.timeout(HELPER_TIMEOUT_MS));
    print(known ? `Removing login credentials for ${shown}` : `Not logged in to ${shown}`);
    return 0;
  },
};

/** Who it is, asked on the terminal where the flags don't say. */
function askFor(
  username: string,
  password: string,
  fromStdin: boolean,
): { username: string; password: string } {
  if (fromStdin) {
    if (password !== "") throw new CliError("--password and --password-stdin are mutually exclusive");
    if (username === "") throw new CliError("Must provide --username with --password-stdin");
    return { username, password: readInput().replace(/\r?\n$/, "") };
  }
  if ((username === "" || password === "") && !isTerminal(0)) {
    throw new CliError("Error: Cannot perform an interactive login from a non TTY device");
  }
  const name = username || askLine("Username: ").trim();
  if (name === "") throw new CliError("Error: Non-null Username Required");
  const secret = password || askSecret("Password: ");
  if (secret === "") throw new CliError("Error: Password Required");
  return { username: name, password: secret };
}

function domainOf(server: string): string {
  const host = server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return ["", "index.docker.io", "registry-1.docker.io"].includes(host) ? HUB : host;
}
