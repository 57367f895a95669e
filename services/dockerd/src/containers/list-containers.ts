import os from "node:os";
import { EngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Filters } from "../http/filters.ts";
import { namesByLinks } from "../links/container-links.ts";
import { networkName } from "../networks/network-mode.ts";
import { showNetworks } from "../networks/show-endpoints.ts";
import { ENGINE_LABEL, isMeant } from "../state/fleet.ts";
import { hasMount, showMounts } from "../volumes/mount-point.ts";
import type { Container, ContainerRecord } from "./container.ts";
import { containerSize } from "./container-size.ts";
import { isRunning } from "./container-status.ts";
import { describeStatus } from "./describe-status.ts";
import { listPorts } from "./port-bindings.ts";

export const LIST_FILTERS = [
  "ancestor",
  "before",
  "engine",
  "exited",
  "expose",
  "health",
  "id",
  "is-task",
  "isolation",
  "label",
  "name",
  "network",
  "publish",
  "since",
  "status",
  "volume",
] as const;

const HEALTH = ["starting", "healthy", "unhealthy", "none"];
const STATUSES = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

const TRUE = ["1", "true", "True"];
const FALSE = ["0", "false", "False"];

export interface ListOptions {
  all: boolean;
  /** The newest so many, whatever their state. */
  limit: number | undefined;
  filters: Filters;
  /** Say as well what each takes up. */
  size?: boolean;
}

/** Containers as `GET /containers/json`, newest first. */
export async function listContainers(
  engine: Engine,
  { all, limit, filters, size = false }: ListOptions,
): Promise<object[]> {
  filters.checkValues("status", STATUSES);
  filters.checkValues("health", HEALTH);
  filters.checkValues("is-task", [...TRUE, ...FALSE]);
  for (const key of ["expose", "publish"]) for (const port of filters.get(key)) parsePorts(key, port);
  const everything = all || limit !== undefined || filters.has("status") || filters.has("exited");
  const ancestors = await resolveAncestors(engine, filters);
  const before = filters.get("before").map((name) => engine.containers.find(name).record.created)[0];
  const since = filters.get("since").map((name) => engine.containers.find(name).record.created)[0];
  const chosen = (await candidates(engine, filters)).filter(({ record }) => {
    if (!everything && before === undefined && since === undefined && !isRunning(record.state.status))
      return false;
    return (
      (before === undefined || record.created < before) &&
      (since === undefined || record.created > since) &&
      filters.match("id", (id) => record.id.startsWith(id)) &&
      filters.match("name", (name) => matchesName(record.name, name)) &&
      filters.match("status", (status) => record.state.status === status) &&
      filters.match("health", (health) => (record.state.health?.Status ?? "none") === health) &&
      filters.match("exited", (code) => matchesExit(record.state, code)) &&
      filters.match("expose", (port) => hasPort(record.config.ExposedPorts, port)) &&
      filters.match("publish", (port) => hasPort(publishedPorts(record), port)) &&
      // There are no tasks of a swarm here.
      filters.match("is-task", (value) => FALSE.includes(value)) &&
      filters.match("isolation", (value) => [record.hostConfig.Isolation, "default"].includes(value)) &&
      filters.match("network", (name) => matchesNetwork(engine, record, name)) &&
      filters.match("volume", (value) => hasMount(record, value)) &&
      filters.matchLabels(record.config.Labels) &&
      (ancestors === undefined || ancestors.has(record.imageId))
    );
  });
  const linked = namesByLinks(engine);
  return Promise.all(
    chosen.slice(0, limit !== undefined && limit > 0 ? limit : undefined).map(async (one) => ({
      ...summary(engine, one, linked.get(one.record.id) ?? []),
      ...(size && (await containerSize(engine, one.record))),
    })),
  );
}

/** A container of this engine, or of one that shares its store. */
interface Candidate {
  record: ContainerRecord;
  /** Where it is, when engines were asked for. */
  engineName?: string;
}

/** This engine's containers; with the filter `engine`, those of the engines that it names: hosts' names, engines' ids, or `*`. */
async function candidates(engine: Engine, filters: Filters): Promise<Candidate[]> {
  const own = engine.containers.list();
  if (!filters.has("engine")) return own;
  const names = filters.get("engine");
  const { own: isOwn, others } = (await engine.fleet?.meant(names)) ?? {
    own: isMeant(engine.id, names),
    others: [],
  };
  const theirs = await Promise.all(
    others.map(async (other) =>
      ((await engine.fleet?.containers(other)) ?? []).map((record) => ({ record, engineName: other.name })),
    ),
  );
  const mine = isOwn ? own.map(({ record }) => ({ record, engineName: os.hostname() })) : [];
  return [...mine, ...theirs.flat()].sort((a, b) => (a.record.created < b.record.created ? 1 : -1));
}

function summary(engine: Engine, { record, engineName }: Candidate, linkedNames: string[]): object {
  return {
    Id: record.id,
    Names: [`/${record.name}`, ...linkedNames],
    Image: record.config.Image,
    ImageID: record.imageId,
    Command: [record.path, ...record.args].map(quoteWord).join(" "),
    Created: Math.floor(Date.parse(record.created) / 1000),
    Ports: listPorts(record),
    Labels: { ...record.config.Labels, ...(engineName !== undefined && { [ENGINE_LABEL]: engineName }) },
    State: record.state.status,
    Status: describeStatus(record.state, new Date()),
    HostConfig: { NetworkMode: record.hostConfig.NetworkMode },
    NetworkSettings: { Networks: showNetworks(engine, record) },
    Mounts: showMounts(record),
  };
}

/** Ports of the container that are published, once it runs, else those that will be. */
function publishedPorts({ ports, hostConfig }: ContainerRecord): string[] {
  const asked = Object.entries(hostConfig.PortBindings).flatMap(([port, bindings]) =>
    bindings?.length ? port : [],
  );
  return [...asked, ...ports.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`)];
}

/** @param filter `PORT[-PORT][/PROTOCOL]` */
function hasPort(ports: readonly string[], filter: string): boolean {
  const wanted = parsePorts("port", filter);
  return ports.some((port) => {
    const [number = "", protocol = "tcp"] = port.split("/");
    return protocol === wanted.protocol && Number(number) >= wanted.first && Number(number) <= wanted.last;
  });
}

function parsePorts(key: string, text: string): { first: number; last: number; protocol: string } {
  const [, first, last, protocol = "tcp"] =
    /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text) ?? [];
  if (first === undefined || Number(last ?? first) < Number(first)) {
    throw new EngineError("invalid_argument", `invalid filter '${key}=${text}'`);
  }
  return { first: Number(first), last: Number(last ?? first), protocol: protocol.toLowerCase() };
}

/** Docker shows a word with blanks in quotes. */
function quoteWord(word: string): string {
  return word.includes(" ") ? `'${word}'` : word;
}

function matchesName(name: string, pattern: string): boolean {
  let expression: RegExp;
  try {
    expression = new RegExp(pattern);
  } catch (error) {
    throw new EngineError("invalid_argument", `invalid filter 'name=${pattern}'`, { cause: error });
  }
  return expression.test(name) || expression.test(`/${name}`);
}

function matchesExit({ status, exitCode }: Container["record"]["state"], code: string): boolean {
  if (!/^[0-9]+$/.test(code)) throw new EngineError("invalid_argument", `invalid filter 'exited=${code}'`);
  return status === "exited" && exitCode === Number(code);
}

function matchesNetwork(engine: Engine, record: Container["record"], nameOrId: string): boolean {
  const names = record.networks.length > 0 ? record.networks.map(({ name }) => name) : [networkName(record)];
  return engine.networks
    .list()
    .some(
      ({ id, name }) =>
        names.includes(name) && (nameOrId === name || (nameOrId.length >= 12 && id.startsWith(nameOrId))),
    );
}

/** Ids of the images that `ancestor` names, and of those made from them. */
async function resolveAncestors(engine: Engine, filters: Filters): Promise<Set<string> | undefined> {
  if (!filters.has("ancestor")) return undefined;
  const all = await engine.images.list();
  const found = new Set<string>();
  for (const name of filters.get("ancestor")) {
    const image = await engine.images.find(name).then(
      (match) => match.image,
      () => undefined,
    );
    const top = image?.chainIds.at(-1);
    if (!image || top === undefined) continue;
    for (const other of all) if (other.image.chainIds.includes(top)) found.add(other.image.id);
  }
  return found;
}
