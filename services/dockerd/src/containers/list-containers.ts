import os from "node:os";
import { EngineError, errorCode } from "@longshore/errors";
import { formatPlatform } from "@longshore/oci";
import type { Engine } from "../engine.ts";
import type { Asked } from "../http/api-version.ts";
import type { Filters } from "../http/filters.ts";
import type { Image } from "../images/image.ts";
import { platformOf } from "../images/read-image.ts";
import { namesByLinks } from "../links/container-links.ts";
import { networkName, shownMode } from "../networks/network-mode.ts";
import { showNetworks } from "../networks/show-endpoints.ts";
import { ENGINE_LABEL, isMeant } from "../state/fleet.ts";
import { hasMount, showMounts } from "../volumes/mount-point.ts";
import { type ContainerRecord, ZERO_TIME } from "./container.ts";
import { containerSize } from "./container-size.ts";
import { isRunning } from "./container-status.ts";
import { describeStatus } from "./describe-status.ts";
import { showManifest } from "./inspect-container.ts";
import { within } from "./kill-container.ts";
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

const HEALTH = ["none", "starting", "healthy", "unhealthy"];
const STATUSES = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

const PORT_MAX = 65_535;
const TRUE = ["1", "true", "True"];
const FALSE = ["0", "false", "False"];

export interface ListOptions {
  all: boolean;
  /** The newest so many, whatever their state. */
  limit: number | undefined;
  filters: Filters;
  /** Say as well what each takes up. */
  size?: boolean;
  /** Say of what manifest each was made, to clients that know that. */
  manifests?: boolean;
  asked: Asked;
}

/** Containers as `GET /containers/json`, newest first. */
export async function listContainers(
  engine: Engine,
  { all, limit, filters, size = false, manifests = true, asked }: ListOptions,
): Promise<object[]> {
  filters.checkValues("status", STATUSES, "state");
  filters.checkValues("health", HEALTH, "health");
  filters.checkValues("is-task", [...TRUE, ...FALSE]);
  const ranges = (["expose", "publish"] as const).flatMap((key) =>
    filters.get(key).map((text) => ({ key, ...parsePorts(key, text) })),
  );
  const exitCodes = filters.get("exited").map(parseExitCode);
  const everything = all || limit !== undefined || filters.has("status");
  const ancestors = await resolveAncestors(engine, filters);
  const before = filters.get("before").map((name) => engine.containers.find(name).record.created)[0];
  const since = filters.get("since").map((name) => engine.containers.find(name).record.created)[0];
  const everyone = await candidates(engine, filters);
  const ids = filters.get("id").flatMap((prefix) => idOfOne(everyone, prefix));
  const chosen = everyone.filter(({ record }) => {
    if (!everything && !isRunning(record.state.status)) return false;
    return (
      (before === undefined || record.created < before) &&
      (since === undefined || record.created > since) &&
      (!filters.has("id") || ids.includes(record.id)) &&
      filters.match("name", (name) => matchesName(record.name, name)) &&
      filters.match("status", (status) => record.state.status === status) &&
      filters.match("health", (health) => (record.state.health?.Status ?? "none") === health) &&
      (exitCodes.length === 0 || exitCodes.some((code) => hasExited(record.state, code))) &&
      (ranges.length === 0 || hasPort(record, ranges)) &&
      // There are no tasks of a swarm here, nor is there any isolation but one.
      filters.match("is-task", (value) => FALSE.includes(value)) &&
      filters.match("network", (name) => matchesNetwork(engine, record, name)) &&
      filters.match("volume", (value) => hasMount(record, value)) &&
      filters.matchLabels(record.config.Labels) &&
      (ancestors === undefined || ancestors.has(record.imageId))
    );
  });
  const linked = namesByLinks(engine);
  const listed = chosen.slice(0, limit !== undefined && limit > 0 ? limit : undefined);
  const images = await imagesOf(engine, listed);
  return Promise.all(
    listed.map(async (one) => ({
      ...summary(engine, one, {
        linked: linked.get(one.record.id) ?? [],
        image: images.get(one) ?? one.record.config.Image,
        asked,
      }),
      ...(manifests && showManifest(one.record, asked)),
      ...(size && (await containerSize(engine, one.record))),
    })),
  );
}

/** How long a list waits for containerd, which knows what a name of an image means by now. */
const NAMES_MS = 1000;

/** What to call containers' images, as far as it is found out in time. */
async function imagesOf(engine: Engine, listed: readonly Candidate[]): Promise<Map<Candidate, string>> {
  const imageOf = imageNames(engine);
  const names = new Map<Candidate, string>();
  const all = listed.map(async (one) => {
    names.set(one, await imageOf(one));
  });
  await within(
    Promise.all(all).then(() => {}),
    NAMES_MS,
  );
  return names;
}

/** What to call containers' images: as their users did, or by its id where that name is another image's by now, or none's. */
function imageNames(engine: Engine): (one: Candidate) => Promise<string> {
  const images = new Map<string, Promise<Meant>>();
  return async ({ record, engineName }) => {
    const { imageId, config } = record;
    // Another engine's images are not here.
    if (config.Image === imageId || (engineName !== undefined && !engine.containers.get(record.id)))
      return config.Image;
    const meant = images.get(config.Image) ?? findMeant(engine, config.Image);
    images.set(config.Image, meant);
    const image = await meant;
    if (image === "none") return imageId;
    if (image === "unknown" || image.id === imageId) return config.Image;
    // One name may stand for images of several platforms.
    const own = await engine.images.read(record.manifestDigest).catch(() => undefined);
    return own && platformName(image) !== platformName(own) ? config.Image : imageId;
  };
}

const platformName = ({ config }: Image) => formatPlatform(platformOf(config));

/** The image that a name is of; it may be none's, or that can't be found out, as while containerd is away. */
type Meant = Image | "none" | "unknown";

async function findMeant(engine: Engine, nameOrId: string): Promise<Meant> {
  try {
    return (await engine.images.find(nameOrId)).image;
  } catch (error) {
    return ["not_found", "invalid_argument"].includes(errorCode(error)) ? "none" : "unknown";
  }
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

function summary(
  engine: Engine,
  { record, engineName }: Candidate,
  { linked, image, asked }: { linked: string[]; image: string; asked: Asked },
): object {
  const { hostConfig, state } = record;
  const { Annotations } = hostConfig;
  return {
    Id: record.id,
    Names: [`/${record.name}`, ...linked],
    Image: image,
    ImageID: record.imageId,
    Command: [record.path, ...record.args.map(quoteWord)].join(" "),
    Created: Math.floor(Date.parse(record.created) / 1000),
    Ports: listPorts(record),
    Labels: { ...record.config.Labels, ...(engineName !== undefined && { [ENGINE_LABEL]: engineName }) },
    State: state.status,
    Status: describeStatus(state, new Date()),
    HostConfig: {
      NetworkMode: shownMode(hostConfig.NetworkMode, asked),
      ...(asked.atLeast("1.46") && Object.keys(Annotations).length > 0 && { Annotations }),
    },
    ...(asked.atLeast("1.52") && {
      Health: { Status: state.health?.Status ?? "none", FailingStreak: state.health?.FailingStreak ?? 0 },
    }),
    NetworkSettings: { Networks: showNetworks(engine, record) },
    Mounts: showMounts(record),
  };
}

interface PortRange {
  first: number;
  last: number;
  protocol: string;
}

/** Whether a container that runs has one of the ports: exposed by their own number, published by the host's. */
function hasPort(
  record: ContainerRecord,
  ranges: readonly (PortRange & { key: "expose" | "publish" })[],
): boolean {
  return listPorts(record).some(({ PrivatePort, PublicPort, Type }) =>
    ranges.some(({ key, first, last, protocol }) => {
      const port = key === "expose" ? PrivatePort : (PublicPort ?? 0);
      return Type === protocol && port >= first && port <= last;
    }),
  );
}

/** @param text `PORT[-PORT][/PROTOCOL]` @throws EngineError `invalid_argument` in Docker's words */
function parsePorts(key: string, text: string): PortRange {
  const refuse = (message: string) => new EngineError("invalid_argument", message);
  if (text.includes(":")) throw refuse(`filter for '${key}' should not contain ':': ${text}`);
  const wrong = (why: string) => refuse(`error while looking up for ${key} ${text}: ${why}`);
  const [ports = "", protocol = "tcp"] = text.split("/");
  if (ports === "") throw wrong("Empty string specified for ports.");
  const [first = 0, last = first] = ports.split("-").map((number) => {
    const parsing = `strconv.ParseUint: parsing ${JSON.stringify(number)}`;
    if (!/^[0-9]+$/.test(number)) throw wrong(`${parsing}: invalid syntax`);
    if (Number(number) > PORT_MAX) throw wrong(`${parsing}: value out of range`);
    return Number(number);
  });
  if (last < first) throw wrong(`Invalid range specified for the Port: ${ports}`);
  return { first, last, protocol: protocol.toLowerCase() };
}

/** Docker shows a word with blanks in quotes. */
function quoteWord(word: string): string {
  return word.includes(" ") ? `'${word}'` : word;
}

/** The name itself, or an expression that fits it; what is none fits nothing. */
function matchesName(name: string, pattern: string): boolean {
  if (pattern === name || pattern === `/${name}`) return true;
  // Expressions of Go begin with their flags.
  const [, flags = "", rest = ""] = /^(?:\(\?([ims]+)\))?(.*)$/s.exec(pattern) ?? [];
  try {
    const expression = new RegExp(rest, flags);
    return expression.test(name) || expression.test(`/${name}`);
  } catch {
    return false;
  }
}

/** The container whose id begins so, if there is only one. */
function idOfOne(all: readonly Candidate[], prefix: string): string[] {
  const found = all.filter(({ record }) => prefix !== "" && record.id.startsWith(prefix));
  return found.length === 1 ? found.map(({ record }) => record.id) : [];
}

function parseExitCode(text: string): number {
  if (/^[+-]?[0-9]+$/.test(text)) return Number(text);
  throw new EngineError(
    "invalid_argument",
    `invalid filter 'exited=${text}': strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
  );
}

function hasExited({ status, exitCode, startedAt }: ContainerRecord["state"], code: number): boolean {
  return !isRunning(status) && startedAt !== ZERO_TIME && exitCode === code;
}

function matchesNetwork(engine: Engine, record: ContainerRecord, nameOrId: string): boolean {
  const names = record.networks.length > 0 ? record.networks.map(({ name }) => name) : [networkName(record)];
  return engine.networks
    .list()
    .some(({ id, name }) => names.includes(name) && (nameOrId === name || id.startsWith(nameOrId)));
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
