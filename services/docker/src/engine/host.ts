import path from "node:path";
import { CliError } from "../cli-error.ts";
import { Contexts, DEFAULT_CONTEXT } from "./contexts.ts";
import { type ClientTls, clientTls, type TlsFlags } from "./tls.ts";

/** Where an engine listens. */
export interface EngineHost {
  /** As the user wrote it, for messages. */
  readonly name: string;
  /** Of the user's that names it. */
  readonly context: string;
  readonly unix?: string;
  readonly tcp?: { readonly hostname: string; readonly port: number };
  /** Of a connection by TCP. */
  readonly tls?: ClientTls;
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
export function engineHost(flag: string | undefined, env: Environment, tlsFlags: TlsFlags = {}): EngineHost {
  const context = flag ? DEFAULT_CONTEXT : contextInUse(env);
  const inContext = context === DEFAULT_CONTEXT ? undefined : contextsOf(env).get(context);
  const name = inContext?.host ?? (flag || env.DOCKER_HOST || DEFAULT_HOST);
  const [scheme, rest] = splitHost(name);
  if (scheme === "unix") return { name, context, unix: rest };
  if (scheme === "tcp") {
    const tls = clientTls(tlsFlags, env) ?? (inContext && contextsOf(env).tls(inContext));
    const url = URL.parse(`http://${rest}`);
    if (!url?.hostname) throw new CliError(`unable to parse docker host \`${name}\``);
    const port = Number(url.port || (tls ? 2376 : 2375));
    return {
      name,
      context,
      tcp: { hostname: url.hostname.replace(/^\[|\]$/g, ""), port },
      ...(tls && { tls }),
    };
  }
  throw new CliError(`docker host ${JSON.stringify(name)}: ${scheme}:// is not supported by this client yet`);
}

function splitHost(name: string): [string, string] {
  const at = name.indexOf("://");
  if (at < 0) return ["tcp", name];
  return [name.slice(0, at), name.slice(at + 3)];
}
