import { CliError } from "../cli-error.ts";
import type { Flag, FlagValues } from "../flags.ts";
import { onlyGiven, pairs } from "./given.ts";
import { parseExpose, parsePublish } from "./ports.ts";

/** Flags of `create` and `run` about networks. */
export const NETWORK_FLAGS: readonly Flag[] = [
  {
    name: "expose",
    kind: "list",
    help: "Expose a port or a range of ports",
    check: (v) => void parseExpose(v),
  },
  {
    name: "publish",
    short: "p",
    kind: "list",
    help: "Publish a container's port(s) to the host",
    check: (v) => void parsePublish(v),
  },
  { name: "publish-all", short: "P", kind: "bool", help: "Publish all exposed ports to random ports" },
  { name: "dns", kind: "list", help: "Set custom DNS servers" },
  { name: "dns-opt", kind: "list", help: "Set DNS options" },
  { name: "dns-option", kind: "list", help: "Set DNS options" },
  { name: "dns-search", kind: "list", help: "Set custom DNS search domains" },
  { name: "ip", kind: "string", value: "ip", help: "IPv4 address (e.g., 172.30.100.104)" },
  { name: "ip6", kind: "string", value: "ip", help: "IPv6 address (e.g., 2001:db8::33)" },
  { name: "link-local-ip", kind: "list", value: "ip", help: "Container IPv4/IPv6 link-local addresses" },
  { name: "mac-address", kind: "string", help: "Container MAC address (e.g., 92:d0:c6:0a:29:33)" },
  { name: "net", kind: "list", value: "network", help: "Connect a container to a network" },
  { name: "net-alias", kind: "list", help: "Add network-scoped alias for the container" },
  { name: "network", kind: "list", value: "network", help: "Connect a container to a network" },
  { name: "network-alias", kind: "list", help: "Add network-scoped alias for the container" },
];

/** One network as the advanced form names it: `name=web,alias=a,ip=172.30.0.9`. */
interface NamedNetwork {
  name: string;
  aliases: string[];
  driverOptions: string[];
  gatewayPriority: number;
  ip: string;
  ip6: string;
  linkLocalIps: string[];
  macAddress: string;
}

const UNNAMED: NamedNetwork = {
  ...{ name: "", aliases: [], driverOptions: [], gatewayPriority: 0 },
  ...{ ip: "", ip6: "", linkLocalIps: [], macAddress: "" },
};

/** What the flags mean for the engine. @throws CliError for those that contradict each other */
export function networkOptions(flags: FlagValues): {
  exposed: Record<string, object>;
  mode: string;
  endpoints: Record<string, object>;
  host: Record<string, unknown>;
} {
  const networks = [...flags.list("network"), ...flags.list("net")].map(parseNetwork);
  const [first] = networks;
  const aliases = [...flags.list("network-alias"), ...flags.list("net-alias")];
  const ip = flags.string("ip");
  const ip6 = flags.string("ip6");
  const linkLocalIps = flags.list("link-local-ip");
  const macAddress = flags.string("mac-address");
  if (first) {
    if (aliases.length > 0 && first.aliases.length > 0)
      throw conflict("--network-alias and per-network alias");
    if (ip !== "" && first.ip !== "") throw conflict("--ip and per-network IPv4 address");
    if (ip6 !== "" && first.ip6 !== "") throw conflict("--ip6 and per-network IPv6 address");
    if (linkLocalIps.length > 0 && first.linkLocalIps.length > 0)
      throw conflict("--link-local-ip and per-network link-local IP addresses");
    if (macAddress !== "" && first.macAddress !== "")
      throw conflict("--mac-address and per-network MAC address");
  }
  const own = { ...UNNAMED, name: "default", ...first };
  const completed = [
    {
      ...own,
      aliases: [...own.aliases, ...aliases],
      ip: own.ip || ip,
      ip6: own.ip6 || ip6,
      linkLocalIps: [...own.linkLocalIps, ...linkLocalIps],
      macAddress: own.macAddress || macAddress,
    },
    ...networks.slice(1),
  ];
  const endpoints = completed.map((one) => [one.name, endpointOf(one)] as const);
  const isPlain = completed.length === 1 && Object.keys(endpoints[0]?.[1] ?? {}).length === 0;
  const published = flags.list("publish").flatMap(parsePublish);
  const bindings: Record<string, object[]> = {};
  for (const { port, HostIp, HostPort } of published)
    bindings[port] = [...(bindings[port] ?? []), { HostIp, HostPort }];
  const exposed = [...Object.keys(bindings), ...flags.list("expose").flatMap(parseExpose)];
  return {
    exposed: Object.fromEntries(exposed.map((port) => [port, {}])),
    mode: own.name,
    endpoints: isPlain ? {} : Object.fromEntries(endpoints),
    host: onlyGiven({
      Dns: flags.list("dns"),
      DnsOptions: [...flags.list("dns-option"), ...flags.list("dns-opt")],
      DnsSearch: flags.list("dns-search"),
      PortBindings: bindings,
      ...(flags.bool("publish-all") && { PublishAllPorts: true }),
    }),
  };
}

function endpointOf(network: NamedNetwork): Record<string, unknown> {
  const { aliases, driverOptions, gatewayPriority, ip, ip6, linkLocalIps, macAddress } = network;
  return onlyGiven({
    IPAMConfig: onlyGiven({ IPv4Address: ip, IPv6Address: ip6, LinkLocalIPs: linkLocalIps }),
    Aliases: aliases,
    DriverOpts: pairs(driverOptions),
    GwPriority: gatewayPriority,
    MacAddress: macAddress,
  });
}

function parseNetwork(text: string): NamedNetwork {
  if (!text.includes("=")) return { ...UNNAMED, name: text };
  const network = { ...UNNAMED, aliases: [] as string[], driverOptions: [] as string[] };
  for (const field of text.split(",")) {
    const at = field.indexOf("=");
    const [key, value] = [field.slice(0, at).trim().toLowerCase(), field.slice(at + 1).trim()];
    if (key === "name") network.name = value;
    else if (key === "alias") network.aliases.push(value);
    else if (key === "driver-opt") network.driverOptions.push(value);
    else if (key === "gw-priority") network.gatewayPriority = priority(value);
    else if (key === "ip") network.ip = value;
    else if (key === "ip6") network.ip6 = value;
    else if (key === "link-local-ip") network.linkLocalIps = [...network.linkLocalIps, value];
    else if (key === "mac-address") network.macAddress = value;
    else throw new CliError(`invalid field key ${key}`, 125);
  }
  if (network.name === "") throw new CliError("network name is not specified", 125);
  return network;
}

function priority(value: string): number {
  if (/^[+-]?\d+$/.test(value)) return Number(value);
  throw new CliError(`invalid gw-priority (${value}): invalid syntax`, 125);
}

function conflict(what: string): CliError {
  return new CliError(`conflicting options: cannot specify both ${what}`, 125);
}
