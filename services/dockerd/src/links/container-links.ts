import { EngineError, errorCode } from "@longshore/errors";
import type { Container, ContainerRecord } from "../containers/container.ts";
import type { HostConfig } from "../containers/container-config.ts";
import { saveRecord } from "../containers/container-record.ts";
import { hasProcess } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { etcFiles } from "../networks/etc-files.ts";
import { changeMounted, readMounted } from "../networks/mounted-files.ts";
import { networkName } from "../networks/network-mode.ts";
import { type ContainerLink, DEFAULT_NETWORK } from "./link.ts";
import { linkEnvironment } from "./link-environment.ts";
import { parseLink } from "./parse-link.ts";

/**
 * The links of a new container on the default network. On networks of users they are the endpoints' (`EndpointsConfig.…Links`), whatever
 * is asked for here.
 * @throws EngineError `invalid_argument` in Docker's words
 */
export function requestedLinks(engine: Engine, host: HostConfig): ContainerLink[] {
  const mode = networkName({ hostConfig: host });
  if (host.Links.length === 0) return [];
  if (mode === "host") throw undefinedBehavior("host");
  if (mode.startsWith("container:")) throw undefinedBehavior("container");
  return mode === DEFAULT_NETWORK ? host.Links.map((text) => toLink(engine, text)) : [];
}

function toLink(engine: Engine, text: string): ContainerLink {
  const { name, alias } = parseLink(text);
  let linked: Container;
  try {
    linked = engine.containers.find(name);
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
    throw new EngineError(
      "invalid_argument",
      `could not get container for ${name}: No such container: ${name}`,
      { cause: error },
    );
  }
  if (linked.record.hostConfig.NetworkMode === "host") throw undefinedBehavior("host");
  return { target: linked.id, alias };
}

function undefinedBehavior(mode: string): EngineError {
  return new EngineError(
    "invalid_argument",
    `conflicting options: ${mode} type networking can't be used with links. This would result in undefined behavior`,
  );
}

/** Links as inspect shows them: `/TARGET:/CONTAINER/ALIAS`; none to containers that are gone. */
export function showLinks(engine: Engine, { name, links = [] }: ContainerRecord): string[] | null {
  const shown = links.flatMap(({ target, alias }) => {
    const linked = engine.containers.get(target);
    return linked ? [`/${linked.record.name}:/${name}/${alias}`] : [];
  });
  return shown.length > 0 ? shown : null;
}

/** Names that containers have by the links of others, `/PARENT/ALIAS`, by their ids. */
export function namesByLinks(engine: Engine): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const { record } of engine.containers.list()) {
    for (const { target, alias } of record.links ?? [])
      names.set(target, [...(names.get(target) ?? []), `/${record.name}/${alias}`]);
  }
  return names;
}

/**
 * The variables of a container's links on the default network.
 * @throws EngineError `conflict` in Docker's words when a linked container doesn't run
 */
export function linkVariables(engine: Engine, record: ContainerRecord): string[] {
  return (record.links ?? []).flatMap(({ target, alias }) => {
    const linked = engine.containers.get(target);
    if (!linked) return []; // removed, and the link with it
    const { name, config, state } = linked.record;
    const linkName = `/${record.name}/${alias}`;
    if (!hasProcess(state.status)) {
      throw new EngineError("conflict", `Cannot link to a non running container: /${name} AS ${linkName}`);
    }
    const address = addressOf(linked);
    if (address === undefined) return [];
    return linkEnvironment({
      name: linkName,
      alias,
      address,
      env: config.Env,
      ports: config.ExposedPorts,
    });
  });
}

/** The same, of those that run: for another process in the container. */
export function runningLinkVariables(engine: Engine, record: ContainerRecord): string[] {
  const links = (record.links ?? []).filter(({ target }) => {
    const linked = engine.containers.get(target);
    return linked && hasProcess(linked.record.state.status);
  });
  return linkVariables(engine, { ...record, links });
}

/** Lines of /etc/hosts for the linked containers that run. */
export function linkHosts(engine: Engine, record: ContainerRecord): string {
  return (record.links ?? []).map((link) => hostsLine(engine, link) ?? "").join("");
}

function hostsLine(engine: Engine, link: ContainerLink): string | undefined {
  const linked = engine.containers.get(link.target);
  const address = linked && addressOf(linked);
  return address === undefined || !linked ? undefined : `${address}\t${namesOf(linked, link)}\n`;
}

/** Its alias, host name and name. */
function namesOf({ record: { name, config } }: Container, { alias }: ContainerLink): string {
  return [...new Set([alias, config.Hostname, name])].filter((one) => one !== "").join(" ");
}

function addressOf({ record: { endpoints } }: Container): string | undefined {
  return endpoints.find(({ networkName: name }) => name === DEFAULT_NETWORK)?.ipAddress;
}

/** A container has started, perhaps with another address: those that have a link to it find it there. */
export function refreshLinks(engine: Engine, started: Container): void {
  for (const other of engine.containers.list()) {
    if (!hasProcess(other.record.state.status) || other === started) continue;
    for (const link of other.record.links ?? []) {
      if (link.target === started.id)
        replaceLine(engine, other, namesOf(started, link), hostsLine(engine, link) ?? "");
    }
  }
}

/** In the same file: it is mounted in the container. */
function replaceLine(engine: Engine, { record }: Container, names: string, line: string): void {
  const { hosts } = etcFiles(engine, record);
  const text = readMounted(hosts);
  if (text === undefined) return; // the container has made it too large to be read here
  const kept = text.split("\n").filter((one) => one !== "" && one.slice(one.indexOf("\t") + 1) !== names);
  changeMounted(hosts, { text: `${kept.join("\n")}\n${line}` }, engine.log);
}

/**
 * Take a link away: `docker rm --link PARENT/ALIAS`.
 * @throws EngineError `not_found` for a container or link that isn't there
 */
export function removeLink(engine: Engine, parent: Container, alias: string): Promise<void> {
  return parent.lock.run(async () => {
    const { links = [] } = parent.record;
    const link = links.find((one) => one.alias === alias);
    if (!link)
      throw new EngineError("not_found", `Could not get container for /${parent.record.name}/${alias}`);
    await engine.store.check();
    const linked = engine.containers.get(link.target);
    parent.record = { ...parent.record, links: links.filter((one) => one !== link) };
    await saveRecord(engine, parent);
    if (linked && hasProcess(parent.record.state.status))
      replaceLine(engine, parent, namesOf(linked, link), "");
  });
}
