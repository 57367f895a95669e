import path from "node:path";
import { CliError } from "../cli-error.ts";
import { Contexts, DEFAULT_CONTEXT } from "./contexts.ts";

/** Where an engine listens. */
export interface EngineHost {
  /** As the user wrote it, for messages. */
  readonly name: string;
  readonly unix?: string;
  readonly tcp?: { readonly hostname: string; readonly port: number };
}

export const DEFAULT_HOST = "unix:///run/longshore/docker.sock";

type Environment = Readonly<Record<string, string | undefined>>;

/** The contexts of the environment's configuration directory. */
export function contextsOf(env: Environment): Contexts {
  return new Contexts(env.DOCKER_CONFIG || path.join(env.HOME ?? "/root", ".docker"));
}

/** Name of the context in use: of the environment, else the configuration's; one that names a host is the default one. */
export function contextInUse(env: Environment): string {
  if (env.DOCKER_HOST) return DEFAULT_CONTEXT;
  return env.DOCKER_CONTEXT || contextsOf(env).current();
}

/** The engine that `-H`, the environment or a context names. @throws CliError for what can't be reached from here */
export function engineHost(flag: string | undefined, env: Environment): EngineHost {
  const name = flag || env.DOCKER_HOST || hostInUse(env);
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

function hostInUse(env: Environment): string {
  const name = contextInUse(env);
  return name === DEFAULT_CONTEXT ? DEFAULT_HOST : contextsOf(env).get(name).host;
}

function splitHost(name: string): [string, string] {
  const at = name.indexOf("://");
  if (at < 0) return ["tcp", name];
  return [name.slice(0, at), name.slice(at + 3)];
}
