const DEFAULT_DOMAIN = "docker.io";
const DEFAULT_HOST = "registry-1.docker.io";

/** Where the images of a domain may be had. */
export interface Endpoint {
  /** `https://host[:port]`, with a path prefix for some mirrors; no slash at the end. */
  readonly base: string;
  /** Plain http and unverified certificates are acceptable there. */
  readonly insecure: boolean;
  /** A mirror never sees the credentials of what it mirrors. */
  readonly mirror: boolean;
}

export interface HostOptions {
  insecureRegistries: readonly string[];
  /** URLs that hold copies of Docker Hub's images, tried in order before it. */
  mirrors: readonly string[];
}

/** The endpoints for a reference's domain, in the order to try them. */
export function endpointsOf(domain: string, { insecureRegistries, mirrors }: HostOptions): Endpoint[] {
  const host = domain === DEFAULT_DOMAIN ? DEFAULT_HOST : domain;
  const insecure = isLoopbackHost(host) || insecureRegistries.includes(domain);
  const origin: Endpoint = { base: `https://${host}`, insecure, mirror: false };
  if (domain !== DEFAULT_DOMAIN) return [origin];
  return [
    ...mirrors.map((url) => {
      const { protocol, host: mirrorHost } = new URL(url);
      const plain =
        protocol === "http:" || isLoopbackHost(mirrorHost) || insecureRegistries.includes(mirrorHost);
      return { base: url.replace(/\/+$/, ""), insecure: plain, mirror: true };
    }),
    origin,
  ];
}

/** Whether `host` or `host:port` is this machine by its literal address: 127.0.0.0/8, ::1 or localhost. */
export function isLoopbackHost(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return (
    name === "localhost" ||
    name === "[::1]" ||
    name === "::1" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name)
  );
}
