/** What every container's /etc/hosts starts with; moby `libnetwork/etchosts`. */
const COMMON = [
  ["127.0.0.1", "localhost"],
  ["::1", "localhost ip6-localhost ip6-loopback"],
  ["fe00::", "ip6-localnet"],
  ["ff00::", "ip6-mcastprefix"],
  ["ff02::1", "ip6-allnodes"],
  ["ff02::2", "ip6-allrouters"],
] as const;

/** One line of a hosts file. */
export interface HostsEntry {
  readonly address: string;
  readonly names: readonly string[];
}

export function hostsFile(entries: readonly HostsEntry[]): string {
  const own = entries.map(({ address, names }) => [address, names.join(" ")] as const);
  return [...COMMON, ...own].map(([address, names]) => `${address}\t${names}\n`).join("");
}
