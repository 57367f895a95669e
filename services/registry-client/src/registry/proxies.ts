import net from "node:net";
import { EngineError } from "@longshore/errors";
import { isLoopbackHost } from "./endpoint.ts";

export interface ProxySettings {
  readonly httpProxy: string;
  readonly httpsProxy: string;
  readonly noProxy: string;
}

const VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] as const;

const taken: Record<string, string> = {};

/** The variables that {@link takeProxySettings} took, for programs that we start. */
export function proxyEnvironment(): Readonly<Record<string, string>> {
  return taken;
}

/**
 * The proxy settings of the environment, capital names first, as Go reads them. They are removed from it, for Bun's fetch would
 * follow them by rules of its own.
 */
export function takeProxySettings(env: NodeJS.ProcessEnv = process.env): ProxySettings {
  const [httpProxy = "", httpsProxy = "", noProxy = ""] = VARIABLES.map(
    (name) => env[name] || env[name.toLowerCase()] || "",
  );
  for (const name of VARIABLES.flatMap((name) => [name, name.toLowerCase()])) {
    const value = env[name];
    if (value !== undefined) taken[name] = value;
    delete env[name];
  }
  return { httpProxy, httpsProxy, noProxy };
}

/** Settings of a caller's; each that is empty is as here. */
export function withOwnProxies(given: ProxySettings, own: ProxySettings | undefined): ProxySettings {
  return {
    httpProxy: given.httpProxy || (own?.httpProxy ?? ""),
    httpsProxy: given.httpsProxy || (own?.httpsProxy ?? ""),
    noProxy: given.noProxy || (own?.noProxy ?? ""),
  };
}

/**
 * The proxy for a URL; undefined when it is asked directly. Loopback never goes through one.
 *
 * @throws EngineError `invalid_argument` for a proxy that is none, `unimplemented` for SOCKS
 */
export function proxyFor(url: URL, { httpProxy, httpsProxy, noProxy }: ProxySettings): string | undefined {
  const proxy = url.protocol === "https:" ? httpsProxy : httpProxy;
  if (!proxy || isLoopbackHost(url.host) || isExempt(url, noProxy)) return undefined;
  const parsed = URL.parse(proxy.includes("://") ? proxy : `http://${proxy}`);
  if (!parsed?.hostname)
    throw new EngineError("invalid_argument", "invalid proxy address in the environment");
  if (parsed.protocol.startsWith("socks")) {
    throw new EngineError("unimplemented", "SOCKS proxies are not supported: use an http or https one");
  }
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") {
    throw new EngineError("invalid_argument", `a proxy can't be reached by ${parsed.protocol.slice(0, -1)}`);
  }
  return parsed.href;
}

/** @see golang.org/x/net/http/httpproxy: `*`, domains (a leading dot: only what is below), addresses, CIDR, each with a port or not */
function isExempt(url: URL, noProxy: string): boolean {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return noProxy.split(/[\s,]+/).some((entry) => entry !== "" && matches(entry.toLowerCase(), host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === "*") return true;
  const range = entry.includes("/") ? parseCidr(entry) : undefined;
  if (range) return net.isIP(host) !== 0 && range.check(host, net.isIPv6(host) ? "ipv6" : "ipv4");
  const [, bracketed, plain = "", entryPort] =
    /^(?:\[(.+)\]|([^:]*|[0-9a-f:.]*::?[0-9a-f:.]*))(?::(\d+))?$/.exec(entry) ?? [];
  if (entryPort !== undefined && entryPort !== port) return false;
  const name = bracketed ?? plain.replace(/^\*\./, ".");
  if (name === "") return false;
  if (net.isIP(host) !== 0 || net.isIP(name) !== 0) return host === name;
  if (name.startsWith(".")) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}

/** `10.0.0.0/8` as something to check addresses against; undefined when it is no CIDR. */
export function parseCidr(text: string): net.BlockList | undefined {
  const [address = "", bits = ""] = text.split("/");
  const family = net.isIP(address);
  if (family === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (family === 4 ? 32 : 128)) return undefined;
  const list = new net.BlockList();
  list.addSubnet(address, Number(bits), family === 4 ? "ipv4" : "ipv6");
  return list;
}
