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
  const url = URL.parse(text.includes("://") ? text : `nats://${text}`);
  if (!url?.hostname) throw new EngineError("invalid_argument", "not a NATS URL (nats://host:port)");
  if (url.protocol !== "nats:") {
    throw new EngineError("unimplemented", `NATS over ${url.protocol}// is not supported, only nats://`);
  }
  const address: NatsAddress = { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port || 4222) };
  const name = decodeURIComponent(url.username);
  if (url.password) return { ...address, user: name, password: decodeURIComponent(url.password) };
  return name ? { ...address, token: name } : address;
}
