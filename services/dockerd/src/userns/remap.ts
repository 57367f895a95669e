import fs from "node:fs";
import { EngineError, isErrno } from "@longshore/errors";
import type { IdMapping } from "@longshore/oci";

/** Whom `default` means; made where it isn't there, as Docker does. */
const DEFAULT_USER = "dockremap";
const FIRST_ID = 100_000;
const RANGE = 65_536;

/** Which ids of the host containers' ids are. */
export interface Remap {
  readonly user: string;
  readonly group: string;
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
}

/** Texts of the files in which users and their ranges are. */
export interface UserDatabase {
  passwd: string;
  group: string;
  subuid: string;
  subgid: string;
}

/** @param etc where they are */
export function readUserDatabase(etc = "/etc"): UserDatabase {
  const read = (name: string) => {
    try {
      return fs.readFileSync(`${etc}/${name}`, "utf8");
    } catch (error) {
      if (isErrno(error, "ENOENT")) return "";
      throw error;
    }
  };
  return { passwd: read("passwd"), group: read("group"), subuid: read("subuid"), subgid: read("subgid") };
}

/**
 * What `userns-remap` asks for.
 *
 * @param wanted `default`, or a user, by name or number, and after a colon a group
 * @returns undefined for root, who can't be mapped to itself
 * @throws EngineError `invalid_argument` in Docker's words for a user, a group or ranges that aren't there
 */
export function findRemap(wanted: string, files: UserDatabase): Remap | undefined {
  const { user, group } = findNames(wanted, files);
  if (user.name === "root") return undefined;
  return {
    user: user.name,
    group: group.name,
    uidMappings: mappings(files.subuid, "subuid", "user", user),
    gidMappings: mappings(files.subgid, "subgid", "group", group),
  };
}

interface Entry {
  name: string;
  id: string;
}

function findNames(wanted: string, { passwd, group }: UserDatabase): { user: Entry; group: Entry } {
  const parts = checkRemap(wanted).split(":");
  const [first = ""] = parts;
  const user = isNumber(first)
    ? entry(passwd, first, `Uid ${first} has no entry in /etc/passwd`)
    : entry(passwd, first === "default" ? DEFAULT_USER : first, `Error during uid lookup for "${first}"`);
  if (parts.length === 1) {
    return isNumber(first)
      ? { user, group: entry(group, first, `Gid ${first} has no entry in /etc/group`) }
      : { user, group: entry(group, user.name, `Error during gid lookup for "${user.name}"`) };
  }
  const second = parts[1] ?? "";
  const why = isNumber(second)
    ? `Gid ${second} has no entry in /etc/group`
    : `Error during gid lookup for "${second}"`;
  return { user, group: entry(group, second, why) };
}

/** @throws EngineError `invalid_argument` for what can't be a user and a group */
export function checkRemap(wanted: string): string {
  if (/^[^:]+(:[^:]+)?$/.test(wanted)) return wanted;
  throw new EngineError(
    "invalid_argument",
    `Invalid userns-remap specification in ${JSON.stringify(wanted)}`,
  );
}

/** A line of passwd or group by its name or, for a number, its id. */
function entry(text: string, wanted: string, why: string): Entry {
  for (const line of text.split("\n")) {
    const [name = "", , id = ""] = line.split(":");
    if (name !== "" && (isNumber(wanted) ? id : name) === wanted) return { name, id };
  }
  throw new EngineError("invalid_argument", `${why}: no matching entries`);
}

/** Ranges one after the other, from the container's id 0 on. */
function mappings(text: string, file: string, kind: string, { name, id }: Entry): IdMapping[] {
  const ranges = rangesOf(text)
    .filter(({ owner }) => owner === name || owner === id)
    .sort((a, b) => a.start - b.start);
  if (ranges.length === 0) {
    throw new EngineError(
      "invalid_argument",
      `Can't create ID mappings: No ${file} ranges found for ${kind} "${name}"`,
    );
  }
  let containerID = 0;
  return ranges.map(({ start, size }) => {
    const mapping = { containerID, hostID: start, size };
    containerID += size;
    return mapping;
  });
}

function rangesOf(text: string): { owner: string; start: number; size: number }[] {
  return text.split("\n").flatMap((line) => {
    const [owner = "", start = "", size = ""] = line.trim().split(":");
    if (owner === "" || owner.startsWith("#") || !isNumber(start) || !isNumber(size)) return [];
    return [{ owner, start: Number(start), size: Number(size) }];
  });
}

/**
 * Make the user that `default` means, and ranges for it, where they aren't there.
 * @throws EngineError `failed_precondition` where the host's tools can't
 */
export function makeDefaultUser(read: () => UserDatabase): void {
  if (
    !read()
      .passwd.split("\n")
      .some((line) => line.startsWith(`${DEFAULT_USER}:`))
  )
    tool(["useradd", "--system", "--user-group", "--shell", "/bin/false", DEFAULT_USER]);
  for (const [file, flag] of [
    ["subuid", "--add-subuids"],
    ["subgid", "--add-subgids"],
  ] as const) {
    const ranges = rangesOf(read()[file]);
    if (ranges.some(({ owner }) => owner === DEFAULT_USER)) continue;
    const start = ranges.reduce((next, range) => Math.max(next, range.start + range.size), FIRST_ID);
    tool(["usermod", flag, `${start}-${start + RANGE - 1}`, DEFAULT_USER]);
  }
}

function tool(command: readonly string[]): void {
  const failed = (why: string) =>
    new EngineError("failed_precondition", `can't make the user ${DEFAULT_USER}: ${command[0]}: ${why}`);
  const program = Bun.which(command[0] ?? "", { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` });
  if (program === null) throw failed("not found");
  const { success, stderr } = Bun.spawnSync([program, ...command.slice(1)]);
  if (!success) throw failed(stderr.toString().trim());
}

const isNumber = (text: string) => /^\d+$/.test(text);
