import fs from "node:fs";
import path from "node:path";
import { packTree, RootedTree, type TarEntry, tarEntries, unpackTree } from "@longshore/archive";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type EngineClient, EngineRefusal } from "../engine/client.ts";
import { humanSize } from "../format/units.ts";
import { openInput } from "../io/archive-file.ts";
import { printError, writeAll } from "../io/output.ts";
import { isTerminal } from "../io/terminal.ts";
import {
  type CopyEnd,
  lastName,
  patternOf,
  placeCopy,
  renamed,
  splitArgument,
  topName,
} from "./copy-names.ts";

const GO_DIRECTORY = 2 ** 31;
const GO_LINK = 2 ** 27;

/** What the engine says of a path. */
interface PathStat {
  name: string;
  mode: number;
  linkTarget: string;
}

export const cp: Command = {
  name: "docker cp",
  usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
  summary:
    "Copy files/folders between a container and the local filesystem (SRC_PATH|- CONTAINER:DEST_PATH for the way in)",
  arity: { min: 2, max: 2 },
  flags: [
    { name: "archive", short: "a", kind: "bool", help: "Archive mode (copy all uid/gid information)" },
    { name: "follow-link", short: "L", kind: "bool", help: "Always follow symbol link in SRC_PATH" },
    { name: "quiet", short: "q", kind: "bool", help: "Suppress progress output during copy" },
  ],
  async run({ client, flags, args: [from = "", to = ""] }) {
    const [source, target] = [splitArgument(from), splitArgument(to)];
    const followLink = flags.bool("follow-link");
    const archive = flags.bool("archive");
    if (source.container !== undefined && target.container !== undefined)
      throw new CliError("copying between containers is not supported");
    const quiet = flags.has("quiet") ? flags.bool("quiet") : !isTerminal(1);
    const counted = { bytes: 0 };
    if (source.container !== undefined) {
      const options = { container: source.container, from: source.path, to, followLink, archive, counted };
      await copyOut(client, options);
    } else if (target.container !== undefined) {
      const options = { container: target.container, from, to: target.path, followLink, archive, counted };
      await copyIn(client, options);
    } else throw new CliError("must specify at least one container source");
    if (!quiet && to !== "-") printError(`Successfully copied ${humanSize(counted.bytes, 3)} to ${to}`);
    return 0;
  },
};

interface CopyOptions {
  container: string;
  from: string;
  to: string;
  followLink: boolean;
  /** Out of a container: keep set-user-id, set-group-id and capabilities. Into one: the owners too. */
  archive: boolean;
  counted: { bytes: number };
}

/** What the user names, or, where that isn't there, what its last name fits to as a pattern. */
async function copyOut(client: EngineClient, options: CopyOptions): Promise<void> {
  try {
    await copyOne(client, options);
  } catch (error) {
    const pattern = patternOf(lastName(options.from));
    if (!(error instanceof EngineRefusal) || error.status !== 404 || !pattern) throw error;
    if (!(await copyMatching(client, pattern, options))) throw error;
  }
}

/**
 * Copy what is in a directory and fits, one by one, into another one. Which names there are the engine tells only by an archive of all.
 *
 * @returns whether anything did
 */
async function copyMatching(client: EngineClient, pattern: RegExp, options: CopyOptions): Promise<boolean> {
  const { container, from, to } = options;
  if (to === "-" || !localTarget(to).isDirectory)
    throw new CliError(`destination "${to}" must be a directory: the source has wildcards`);
  const directory = path.posix.dirname(from);
  const query = { path: `${directory}/.` };
  const { body } = await client.send({ path: archivePath(container), query });
  const names = new Set<string>();
  for await (const { entry } of tarEntries(body)) {
    const name = topName(Buffer.from(entry.name, "latin1").toString());
    if (name !== undefined && pattern.test(name)) names.add(name);
  }
  for (const name of [...names].sort()) await copyOne(client, { ...options, from: `${directory}/${name}` });
  return names.size > 0;
}

async function copyOne(
  client: EngineClient,
  { container, from, to, followLink, archive, counted }: CopyOptions,
): Promise<void> {
  const api = archivePath(container);
  let source = from;
  let name = lastName(from);
  if (followLink) {
    const stat = await statPath(client, container, from);
    if (stat.mode & GO_LINK) source = stat.linkTarget;
  }
  if (to === "-" && isTerminal(1)) throw new CliError("cowardly refusing to copy to a terminal");
  const answer = await client.send({ path: api, query: { path: source } });
  if (to === "-") {
    for await (const piece of answer.body) writeAll(1, piece);
    return;
  }
  const { mode } = decodeStat(answer.headers.get(STAT_HEADER));
  if (name === "/") name = ".";
  const place = placeCopy({ isDirectory: isDirectory(mode) }, name, localTarget(to));
  const top = source === "/" ? "" : lastName(source);
  // Nothing that a hostile engine sends is written outside the directory that the user has named.
  const rootPath = fs.realpathSync(place.directory);
  using tree = new RootedTree(rootPath);
  await unpackTree(tree, "", count(answer.body, counted), {
    keepKinds: true,
    owner: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    rename: (entry) => renamed(entry, bytes(top), bytes(place.name)),
    leaveOut: isDevice,
    withoutPrivileges: !archive,
    within: true,
    rootPath: rootPath === "/" ? "" : bytes(rootPath),
  });
}

/** A device of the container's would be one of this machine. */
function isDevice({ type, name }: TarEntry): boolean {
  if (type !== "character" && type !== "block") return false;
  printError(`WARNING: the device ${JSON.stringify(Buffer.from(name, "latin1").toString())} is not copied`);
  return true;
}

async function copyIn(
  client: EngineClient,
  { container, from, to, followLink, archive, counted }: CopyOptions,
): Promise<void> {
  const target = await containerTarget(client, container, to);
  const put = (directory: string, body: AsyncIterable<Buffer>) =>
    client.text({
      method: "PUT",
      path: archivePath(container),
      query: { path: directory, noOverwriteDirNonDir: true, copyUIDGID: archive ? true : undefined },
      headers: { "Content-Type": "application/x-tar" },
      body: count(body, counted),
    });
  if (from === "-") {
    if (!target.isDirectory) throw new CliError(`destination "${container}:${to}" must be a directory`);
    await put(target.path, openInput("-"));
    return;
  }
  const source = localSource(from, followLink);
  const place = placeCopy(source, lastName(from), target);
  using tree = new RootedTree("/");
  const name = place.name === "/" ? "." : place.name;
  await put(place.directory, packTree(tree, source.path, bytes(name)));
}

function localTarget(to: string): CopyEnd {
  const stat = fs.statSync(to, { throwIfNoEntry: false });
  // A link to what isn't there yet names what is made.
  const file =
    !stat && fs.lstatSync(to, { throwIfNoEntry: false })
      ? path.resolve(path.dirname(to), fs.readlinkSync(to))
      : to;
  if (!stat && !fs.existsSync(path.dirname(path.resolve(file)))) {
    throw new CliError(`invalid output path: directory "${path.dirname(path.resolve(file))}" does not exist`);
  }
  const absolute = path.resolve(file) + (/\/\.?$/.test(file) ? "/" : "");
  return { path: absolute, exists: stat !== undefined, isDirectory: stat?.isDirectory() ?? false };
}

/** Where it is, without links on the way; the last one is followed for a path that ends with a slash, or when it is wanted. */
function localSource(from: string, followLink: boolean): CopyEnd {
  const follow = followLink || /\/\.?$/.test(from) || from === ".";
  const stat = (follow ? fs.statSync : fs.lstatSync)(from, { throwIfNoEntry: false });
  if (!stat) throw new CliError(`lstat ${path.resolve(from)}: no such file or directory`);
  const absolute = path.resolve(from);
  const real = follow
    ? fs.realpathSync(absolute)
    : path.join(fs.realpathSync(path.dirname(absolute)), path.basename(absolute));
  if (/\/\.?$/.test(from) && !stat.isDirectory()) throw new CliError(`${from}: not a directory`);
  return { path: bytesOf(real), exists: true, isDirectory: stat.isDirectory() };
}

async function containerTarget(client: EngineClient, container: string, to: string): Promise<CopyEnd> {
  let file = to;
  try {
    let stat = await statPath(client, container, file);
    if (stat.mode & GO_LINK) {
      file = stat.linkTarget;
      stat = await statPath(client, container, file);
    }
    return { path: file, exists: true, isDirectory: isDirectory(stat.mode) };
  } catch (error) {
    // Its directory may be there all the same.
    if (!(error instanceof EngineRefusal) || error.status !== 404) throw error;
    return { path: file, exists: false, isDirectory: false };
  }
}

const STAT_HEADER = "x-docker-container-path-stat";

async function statPath(client: EngineClient, container: string, file: string): Promise<PathStat> {
  const { headers } = await client.send({
    method: "HEAD",
    path: archivePath(container),
    query: { path: file },
  });
  return decodeStat(headers.get(STAT_HEADER));
}

function decodeStat(header: string | undefined): PathStat {
  if (header === undefined) throw new CliError("the engine doesn't say what the path is");
  return JSON.parse(Buffer.from(header, "base64").toString()) as PathStat;
}

/** Not with an operator on bits, which has 31 of them. */
function isDirectory(mode: number): boolean {
  return mode >= GO_DIRECTORY;
}

function archivePath(container: string): string {
  return `/containers/${encodeURIComponent(container)}/archive`;
}

/** A path as the kernel has it: bytes, relative to the root. */
function bytesOf(file: string): string {
  return bytes(file).replace(/^\/+/, "");
}

function bytes(text: string): string {
  return Buffer.from(text).toString("latin1");
}

async function* count(source: AsyncIterable<Buffer>, counted: { bytes: number }): AsyncGenerator<Buffer> {
  for await (const piece of source) {
    counted.bytes += piece.length;
    yield piece;
  }
}
