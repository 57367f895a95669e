import { EngineError } from "@longshore/errors";

export interface NatsAddress {
  host: string;
  port: number;
  user?: string;
  password?: string;
  token?: string;
}

/**
 * Take `nats://[token@|user:password@]host[:port]` apart.
 *
 * @throws EngineError `invalid_argument` for anything else, `unimplemented` for `tls://`
 */
export function parseNatsUrl(text: string): NatsAddress {
  // By hand: URL would cost each shim 30 kB.
  const [, scheme = "nats", , name, password, host, port] =
    /^(?:([a-z][a-z0-9+.-]*):\/\/)?(([^@/:]*)(?::([^@/]*))?@)?(\[[0-9a-fA-F:.]+\]|[^:/?#@\s]+)(?::(\d{1,5}))?\/?$/.exec(
      text,
    ) ?? [];
  if (host === undefined) throw new EngineError("invalid_argument", "not a NATS URL (nats://host:port)");
  if (scheme !== "nats")
    throw new EngineError("unimplemented", `NATS over ${scheme}:// is not supported, only nats://`);
  const address: NatsAddress = { host: host.replace(/^\[|\]$/g, ""), port: Number(port ?? 4222) };
  if (!name) return address;
  const user = decodeURIComponent(name);
  return password
    ? { ...address, user, password: decodeURIComponent(password) }
    : { ...address, token: user };
}
