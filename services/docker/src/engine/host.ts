import { CliError } from "../cli-error.ts";

/** Where an engine listens. */
export interface EngineHost {
  /** As the user wrote it, for messages. */
  readonly name: string;
  readonly unix?: string;
  readonly tcp?: { readonly hostname: string; readonly port: number };
}

export const DEFAULT_HOST = "unix:///run/longshore/docker.sock";

/** The engine that `-H` or the environment names. @throws CliError for what can't be reached from here */
export function engineHost(
  flag: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): EngineHost {
  const name = flag || env.DOCKER_HOST || DEFAULT_HOST;
  const context = env.DOCKER_CONTEXT;
  if (!flag && !env.DOCKER_HOST && context && context !== "default") {
    throw new CliError(`DOCKER_CONTEXT=${context}: contexts are not supported by this client yet`);
  }
  const [scheme, rest] = splitHost(name);
  if (scheme === "unix") return { name, unix: rest };
  if (scheme === "tcp") {
    if (env.DOCKER_TLS_VERIFY || env.DOCKER_TLS)
      throw new CliError("TLS is not supported by this client yet");
    const url = URL.parse(`http://${rest}`);
    if (!url?.hostname) throw new CliError(`unable to parse docker host \`${name}\``);
    return { name, tcp: { hostname: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port || 2375) } };
  }
  throw new CliError(`docker host ${JSON.stringify(name)}: ${scheme}:// is not supported by this client yet`);
}

function splitHost(name: string): [string, string] {
  const at = name.indexOf("://");
  if (at < 0) return ["tcp", name];
  return [name.slice(0, at), name.slice(at + 3)];
}
