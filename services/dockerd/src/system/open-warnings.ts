import type { Settings } from "../config/settings.ts";

/** Addresses at which whoever reaches them is this host's root; not where a plugin is asked about each request. */
export function openWarnings({
  hosts,
  tls,
  authorizationPlugins,
}: Pick<Settings, "hosts" | "tls" | "authorizationPlugins">): string[] {
  if (authorizationPlugins.length > 0) return [];
  return hosts
    .filter((host) => host.startsWith("tcp://") && tls?.ca === undefined)
    .map((host) => {
      const address = host.slice("tcp://".length);
      const how = tls
        ? `https://${address} without TLS client verification`
        : `http://${address} without encryption`;
      return [
        `WARNING: API is accessible on ${how}.`,
        "         Access to the remote API is equivalent to root access on the host. Refer",
        "         to the 'Docker daemon attack surface' section in the documentation for",
        "         more information: https://docs.docker.com/go/attack-surface/",
      ].join("\n");
    });
}
