import { createHash } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { writeRegularFile } from "@longshore/archive";
import { EngineError, isErrno } from "@longshore/errors";
import { type DnsSettings, type Endpoint, hostResolvConf } from "@longshore/network";
import type { ContainerRecord } from "../containers/container.ts";
import type { HostConfig } from "../containers/container-config.ts";
import { containerDir, type Engine } from "../engine.ts";
import { isRemapped } from "../userns/user-namespaces.ts";
import { changeMounted, readMounted } from "./mounted-files.ts";
import { joinedContainer } from "./network-mode.ts";

const HOST_ROOT = { uid: 0, gid: 0 };

/** The word that stands for the host's address in `--add-host`. */
const HOST_GATEWAY = "host-gateway";

/** Files of this daemon that appear in a container's /etc; with another one's network they are that one's. */
export function etcFiles(engine: Engine, { id, hostConfig }: ContainerRecord) {
  const owner = joinedContainer(engine, hostConfig.NetworkMode)?.id ?? id;
  const directory = containerDir(engine, owner);
  return {
    hosts: path.join(directory, "hosts"),
    hostname: path.join(directory, "hostname"),
    resolvConf: path.join(directory, "resolv.conf"),
  };
}

/** The texts of a container's files in /etc. */
export interface EtcTexts {
  hosts: string;
  resolvConf: string;
}

/** Write a container's files for a start, whatever was in them. They are written in place, as they may be mounted elsewhere. */
export function writeEtcFiles(engine: Engine, record: ContainerRecord, texts: EtcTexts): void {
  const { hosts, hostname, resolvConf } = etcFiles(engine, record);
  const owner = isRemapped(engine.userns, record.hostConfig) ? engine.userns.root : HOST_ROOT;
  writeForStart(hosts, texts.hosts + extraHosts(engine, record), owner);
  writeForStart(hostname, `${record.config.Hostname}\n`, owner);
  writeForStart(resolvConf, texts.resolvConf, owner);
  saveHash(resolvConf, texts.resolvConf);
}

/** A file on which a container that shares it holds a lease is replaced: that container keeps the old one. */
function writeForStart(file: string, text: string, owner: { uid: number; gid: number }): void {
  try {
    writeRegularFile(file, text, { make: true, owner });
  } catch (error) {
    if (!isErrno(error, "EAGAIN")) throw error;
    fs.rmSync(file, { force: true });
    writeRegularFile(file, text, { make: true, owner });
  }
}

/** The files of a container on the host's network: the host's own, with what was asked for. */
export function hostEtcTexts(engine: Engine, record: ContainerRecord): EtcTexts {
  return { hosts: readText("/etc/hosts"), resolvConf: hostResolvConf(dnsSettings(engine, record)) };
}

/** A running container has an endpoint more, or less: its hosts file tells, and keeps what else is in it. */
export function updateHosts(
  engine: Engine,
  record: ContainerRecord,
  change: { added?: Endpoint; gone?: Endpoint | undefined },
): void {
  const { hosts } = etcFiles(engine, record);
  const { added, gone } = change;
  const names = hostNames(record).join(" ");
  const more = added ? addressesOf(added).map((address) => `${address}\t${names}`) : [];
  const text = readMounted(hosts);
  if (text === undefined) {
    // The container has made it too large to be read here.
    if (added) changeMounted(hosts, { line: `\n${more.join("\n")}\n` }, engine.log);
    return;
  }
  const lines = text
    .split("\n")
    .filter((line) => !gone || !addressesOf(gone).includes(line.split(/\s/)[0] ?? ""));
  if (added) {
    while (lines.at(-1) === "") lines.pop();
    lines.push(...more, "");
  }
  changeMounted(hosts, { text: lines.join("\n") }, engine.log);
}

const addressesOf = ({ ipAddress, ipv6 }: Endpoint): string[] =>
  [ipAddress, ipv6?.address ?? ""].filter((address) => address !== "");

/** Where a running container asks for names has changed. A file that somebody has edited since it was written stays as it is. */
export function updateResolvConf(engine: Engine, record: ContainerRecord, text: string): void {
  const { resolvConf } = etcFiles(engine, record);
  const now = readMounted(resolvConf);
  if (now === undefined || readText(hashFile(resolvConf)) !== hashOf(now)) return;
  if (changeMounted(resolvConf, { text }, engine.log)) saveHash(resolvConf, text);
}

/** What a container calls itself: its whole name first, when it has a domain. */
export function hostNames({ config: { Hostname, Domainname } }: ContainerRecord): string[] {
  return Domainname === "" ? [Hostname] : [`${Hostname}.${Domainname}`, Hostname];
}

/** Where a container wants names asked for: by its own settings, else the daemon's. */
export function dnsSettings({ flags }: Engine, { hostConfig }: ContainerRecord): DnsSettings {
  const { Dns, DnsSearch, DnsOptions } = hostConfig;
  return {
    nameservers: Dns.length > 0 ? Dns : flags.dns,
    search: DnsSearch.length > 0 ? DnsSearch : flags.dnsSearch,
    options: DnsOptions.length > 0 ? DnsOptions : flags.dnsOptions,
  };
}

/** @throws EngineError `invalid_argument` in Docker's words for what is no `host:address`, nor an address of a name server */
export function checkEtcOptions({ ExtraHosts, Dns }: Pick<HostConfig, "ExtraHosts" | "Dns">): void {
  for (const entry of ExtraHosts) {
    const { host, address } = splitExtraHost(entry);
    if (host === "" || address === "")
      throw new EngineError("invalid_argument", `bad format for add-host: ${JSON.stringify(entry)}`);
    if (address !== HOST_GATEWAY && net.isIP(address) === 0)
      throw new EngineError("invalid_argument", `invalid IP address in add-host: ${JSON.stringify(address)}`);
  }
  for (const server of Dns)
    if (net.isIP(server) === 0)
      throw new EngineError("invalid_argument", `invalid nameserver address: ${JSON.stringify(server)}`);
}

function extraHosts(engine: Engine, { hostConfig }: ContainerRecord): string {
  return hostConfig.ExtraHosts.flatMap((entry) => {
    const { host, address } = splitExtraHost(entry);
    const addresses = address === HOST_GATEWAY ? hostGateways(engine) : [address];
    return addresses.map((one) => `${one}\t${host}\n`);
  }).join("");
}

/** Addresses at which containers reach the host: as the daemon was told, else the default bridge's. */
function hostGateways({ flags, networks }: Engine): string[] {
  if (flags.hostGatewayIps.length > 0) return flags.hostGatewayIps;
  return networks.inspect("bridge").ipam.flatMap(({ gateway }) => (gateway === "" ? [] : [gateway]));
}

/** IPv6 addresses have colons of their own, and may be in brackets. */
function splitExtraHost(entry: string): { host: string; address: string } {
  const at = entry.indexOf(":");
  const address = at < 0 ? "" : entry.slice(at + 1).replace(/^\[(.*)\]$/, "$1");
  return { host: at < 0 ? entry : entry.slice(0, at), address };
}

const hashFile = (resolvConf: string) => `${resolvConf}.hash`;
const hashOf = (text: string) => createHash("sha256").update(text).digest("hex");

function saveHash(resolvConf: string, text: string): void {
  fs.writeFileSync(hashFile(resolvConf), hashOf(text));
}

/** A file that no container writes in. */
function readText(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    return "";
  }
}
