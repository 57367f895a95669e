import dns from "node:dns";
import net from "node:net";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { type Certificates, NO_CERTIFICATES, readCertificates } from "./certificates.ts";
import { CAPABILITIES, type Endpoint, isLoopbackHost } from "./endpoint.ts";
import { readHostsFile } from "./hosts-file.ts";
import { parseCidr } from "./proxies.ts";

const DEFAULT_DOMAIN = "docker.io";
const DEFAULT_HOST = "registry-1.docker.io";

export interface HostOptions {
  /** `host`, `host:port` or a CIDR of literal addresses. */
  insecureRegistries: readonly string[];
  /** URLs that hold copies of Docker Hub's images, tried in order before it. */
  mirrors: readonly string[];
  /** Directories of `<host[:port]>/`, each with Docker's certificates or containerd's `hosts.toml`. */
  certsDirs?: readonly string[];
}

/**
 * The endpoints for a reference's domain, in the order to try them. A `hosts.toml` for the domain (or in `_default`) replaces
 * what the other options say about it.
 * @throws EngineError `invalid_argument` for files in a certificate directory that make no sense
 */
export function endpointsOf(domain: string, options: HostOptions): Endpoint[] {
  const host = registryHost(domain);
  for (const dir of hostDirectories(domain, host, options)) {
    const listed = readHostsFile(dir, { domain, server: `https://${host}` });
    if (listed) return listed;
  }
  const origin: Endpoint = {
    api: `https://${host}/v2`,
    insecure: isInsecure(host, domain, options),
    mirror: false,
    capabilities: CAPABILITIES,
    certificates: certificatesFor(host, options),
    headers: {},
  };
  if (domain !== DEFAULT_DOMAIN) return [origin];
  return [...options.mirrors.map((url) => mirrorEndpoint(url, options)), origin];
}

function mirrorEndpoint(url: string, options: HostOptions): Endpoint {
  const { protocol, host } = new URL(url);
  return {
    api: `${url.replace(/\/+$/, "")}/v2`,
    insecure: protocol === "http:" || isInsecure(host, host, options),
    mirror: true,
    capabilities: ["resolve", "pull"],
    certificates: certificatesFor(host, options),
    headers: {},
  };
}

/** The host that serves a domain: Docker Hub's registry has another name. */
export function registryHost(domain: string): string {
  return domain === DEFAULT_DOMAIN ? DEFAULT_HOST : domain;
}

/** Certificates for a host that a registry leads to; its own directory's. */
export function certificatesFor(host: string, { certsDirs = [] }: HostOptions): Certificates {
  for (const dir of certsDirs) {
    const found = readCertificates(path.join(dir, safeName(host)));
    if (found.ca.length > 0 || found.client) return found;
  }
  return NO_CERTIFICATES;
}

function hostDirectories(domain: string, host: string, { certsDirs = [] }: HostOptions): string[] {
  // containerd also knows `host_port_`, for file systems that take no colon.
  const names = [...new Set([domain, host])].flatMap((name) => [
    name,
    ...(/:\d+$/.test(name) ? [name.replace(/:(\d+)$/, "_$1_")] : []),
  ]);
  return certsDirs.flatMap((dir) => [...names, "_default"].map((name) => path.join(dir, safeName(name))));
}

/** A host comes from an image name or a redirect: it must stay one name in its directory. */
function safeName(host: string): string {
  if (/^[\w.:[\]-]+$/.test(host) && host !== "." && host !== "..") return host;
  throw new EngineError("invalid_argument", `invalid host ${JSON.stringify(host)}`);
}

/**
 * Whether a registry's name leads to an address in one of the networks among its entries (`10.0.0.0/8`), as Docker looks.
 *
 * @param signal ends the waiting for an answer
 */
export async function isInNetwork(
  domain: string,
  entries: readonly string[],
  signal: AbortSignal,
  resolve: (name: string) => Promise<readonly string[]> = lookUp,
): Promise<boolean> {
  const networks = entries.flatMap((entry) => (entry.includes("/") ? (parseCidr(entry) ?? []) : []));
  const name = nameOf(domain);
  if (networks.length === 0 || net.isIP(name) !== 0) return false; // an address is compared as it is
  signal.throwIfAborted();
  const addresses = await orAborted(resolve(name), signal);
  return addresses.some((address) =>
    networks.some((network) => network.check(address, net.isIPv6(address) ? "ipv6" : "ipv4")),
  );
}

/** The system's resolver can't be stopped; what it says then is for nobody. */
async function orAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([answer, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** None for a name that nobody knows. */
async function lookUp(name: string): Promise<string[]> {
  try {
    return (await dns.promises.lookup(name, { all: true })).map(({ address }) => address);
  } catch {
    return []; // the request itself will say so
  }
}

const nameOf = (host: string) => host.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");

export function isInsecure(host: string, domain: string, { insecureRegistries }: HostOptions): boolean {
  if (isLoopbackHost(host) || insecureRegistries.includes(domain)) return true;
  const address = nameOf(host);
  return insecureRegistries.some(
    (entry) =>
      entry.includes("/") && parseCidr(entry)?.check(address, address.includes(":") ? "ipv6" : "ipv4"),
  );
}
