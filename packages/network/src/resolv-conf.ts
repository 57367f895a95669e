import fs from "node:fs";

/** A parsed resolv.conf(5): what was said last of `search`, all of the rest, unknown lines as they are. */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
  readonly other: readonly string[];
}

/** What `--dns`, `--dns-search` and `--dns-option` set; each takes the place of what the host has. */
export interface DnsSettings {
  readonly nameservers?: readonly string[];
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

const HOST_FILE = "/etc/resolv.conf";
/** The file with the real servers, where systemd-resolved puts itself into the other. */
const SYSTEMD_FILE = "/run/systemd/resolve/resolv.conf";
const SYSTEMD_STUB = "127.0.0.53";
/** Docker's choice for hosts that name no server a container could reach, moby `libnetwork/internal/resolvconf`. */
const FALLBACK = ["8.8.8.8", "8.8.4.4"];

export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let search: string[] = [];
  const options: string[] = [];
  const other: string[] = [];
  for (const line of text.split("\n")) {
    const [directive, ...values] = line.trim().split(/\s+/);
    if (!directive || directive.startsWith("#") || directive.startsWith(";")) continue;
    if (directive === "nameserver") nameservers.push(...values.slice(0, 1));
    else if (directive === "search" || directive === "domain") search = values;
    else if (directive === "options") options.push(...values);
    else other.push(line.trim());
  }
  return { nameservers, search, options, other };
}

export function formatResolvConf({ nameservers, search, options, other }: ResolvConf): string {
  const lines = nameservers.map((address) => `nameserver ${address}`);
  if (search.length > 0) lines.push(`search ${search.join(" ")}`);
  if (options.length > 0) lines.push(`options ${options.join(" ")}`);
  return [...lines, ...other].map((line) => `${line}\n`).join("");
}

const isLoopback = (address: string): boolean => address.startsWith("127.") || address === "::1";
const isIpv6 = (address: string): boolean => address.includes(":");

/**
 * What a container on a network without a resolver of its own gets, as Docker does it: the host's, without servers that
 * it could not reach (loopback, IPv6), or public ones when none is left.
 */
export function containerResolvConf(host: ResolvConf, settings: DnsSettings = {}): ResolvConf {
  const reachable = host.nameservers.filter((address) => !isLoopback(address) && !isIpv6(address));
  const inherited = reachable.length > 0 ? reachable : FALLBACK;
  const given = <T>(list: readonly T[] | undefined) => (list && list.length > 0 ? list : undefined);
  return {
    nameservers: given(settings.nameservers) ?? inherited,
    search: (given(settings.search) ?? host.search).filter((domain) => domain !== "."),
    options: given(settings.options) ?? host.options,
    other: host.other,
  };
}

/** What a container on the host's own network gets: the host's text, or with settings of its own those in the place of the host's. */
export function hostResolvConf(settings: DnsSettings): string {
  const { nameservers = [], search = [], options = [] } = settings;
  const text = readText(HOST_FILE);
  if (nameservers.length + search.length + options.length === 0) return text;
  const host = parseResolvConf(text);
  return formatResolvConf({
    nameservers: nameservers.length > 0 ? nameservers : host.nameservers,
    search: search.length > 0 ? search.filter((domain) => domain !== ".") : host.search,
    options: options.length > 0 ? options : host.options,
    other: host.other,
  });
}

/** What a container on a network with a resolver of its own gets: that one, and of the host's the domains to search. */
export function resolverConf(address: string, host: ResolvConf, settings: DnsSettings = {}): ResolvConf {
  const { search, options } = containerResolvConf(host, settings);
  const given = settings.options && settings.options.length > 0 ? options : [];
  const ndots = given.some((option) => option.startsWith("ndots:")) ? [] : ["ndots:0"];
  return { nameservers: [address], search, options: [...given, ...ndots], other: [] };
}

/** The host's settings; those behind systemd-resolved's stub, if that is the only server. None when there is no file. */
export function readHostResolvConf(): ResolvConf {
  const host = parseResolvConf(readText(HOST_FILE));
  const isStub = host.nameservers.length === 1 && host.nameservers[0] === SYSTEMD_STUB;
  return isStub ? parseResolvConf(readText(SYSTEMD_FILE)) : host;
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
