import { EngineError } from "@longshore/errors";
import type { User } from "@longshore/oci";

export interface UserFiles {
  /** Texts of the container's /etc/passwd and /etc/group; empty when there is none. */
  passwd: string;
  group: string;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

const ID_MAX = 2 ** 31 - 1;

/**
 * The ids of `user`, `uid`, `user:group`, `uid:gid` and so on, with the groups that the container's own files give
 * that user. Without a group given, the user's own groups are taken; with one, only that.
 *
 * @param extraGroups names or ids of `--group-add`
 * @throws EngineError `invalid_argument` in Docker's words for who isn't in the files
 * @see moby/sys `user/user.go`, GetExecUser
 */
export function resolveUser(spec: string, files: UserFiles, extraGroups: readonly string[] = []): User {
  const passwd = parsePasswd(files.passwd);
  const groups = parseGroup(files.group);
  const [userPart = "", groupPart = ""] = spec.split(":", 2);
  const id = numeric(userPart || "0");
  const entry = passwd.find(({ name, uid }) => (id === undefined ? name === userPart : uid === id));
  const uid = entry?.uid ?? id;
  if (uid === undefined)
    throw new EngineError(
      "invalid_argument",
      `unable to find user ${userPart}: no matching entries in passwd file`,
    );

  // A line of the image may hold more digits than an id has bits, which would be another id (CVE-2024-40635).
  let gid = inRange(entry?.gid ?? 0);
  let additional: number[] = [];
  if (groupPart !== "") gid = groupId(groupPart, groups);
  else if (entry)
    additional = groups.filter(({ members }) => members.includes(entry.name)).map((group) => group.gid);

  const extra = extraGroups.map((name) => groupId(name, groups));
  return {
    uid: inRange(uid),
    gid,
    additionalGids: [...new Set([gid, ...additional.map(inRange), ...extra])],
  };
}

function groupId(text: string, groups: readonly GroupEntry[]): number {
  const gid = numeric(text) ?? groups.find((group) => group.name === text)?.gid;
  if (gid === undefined)
    throw new EngineError(
      "invalid_argument",
      `unable to find group ${text}: no matching entries in group file`,
    );
  return inRange(gid);
}

/**
 * The id in digits, which are never a name: the files are the image's, and would decide who runs
 * (CVE-2026-46680).
 */
function numeric(text: string): number | undefined {
  return /^[+-]?[0-9]+$/.test(text) ? inRange(Number(text)) : undefined;
}

function inRange(id: number): number {
  if (id >= 0 && id <= ID_MAX) return id;
  throw new EngineError("invalid_argument", `uids and gids must be in range 0-${ID_MAX}`);
}

function parsePasswd(text: string): PasswdEntry[] {
  return fields(text).map(([name = "", , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) || 0 }));
}

function parseGroup(text: string): GroupEntry[] {
  return fields(text).map(([name = "", , gid, members = ""]) => ({
    name,
    gid: Number(gid),
    members: members.split(","),
  }));
}

function fields(text: string): string[][] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"))
    .filter((parts) => /^[0-9]+$/.test(parts[2] ?? ""));
}
