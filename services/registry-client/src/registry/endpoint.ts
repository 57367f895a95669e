import type { Certificates } from "./certificates.ts";

/** What an endpoint may be asked for. */
export type Capability = "resolve" | "pull" | "push";

export const CAPABILITIES: readonly Capability[] = ["resolve", "pull", "push"];

/** Where the images of a domain may be had. */
export interface Endpoint {
  /** `https://host[:port]/v2`, with a path prefix for some mirrors; no slash at the end. */
  readonly api: string;
  /** Plain http and unverified certificates are acceptable there. */
  readonly insecure: boolean;
  /** A mirror never sees the credentials of what it mirrors. */
  readonly mirror: boolean;
  readonly capabilities: readonly Capability[];
  readonly certificates: Certificates;
  /** Sent with each request. */
  readonly headers: Readonly<Record<string, string>>;
  /** The domain to name in `ns`, for a mirror of several. */
  readonly namespace?: string;
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
