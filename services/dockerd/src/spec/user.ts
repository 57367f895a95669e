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
  const entry = passwd.find(({ name, uid }) => name === userPart || String(uid) === (userPart || "0"));
  const uid = entry?.uid ?? numeric(userPart || "0");
  if (uid === undefined)
    throw new EngineError(
      "invalid_argument",
      `unable to find user ${userPart}: no matching entries in passwd file`,
    );

  let gid = entry?.gid ?? 0;
  let additional: number[] = [];
  if (groupPart !== "") gid = groupId(groupPart, groups);
  else if (entry)
    additional = groups.filter(({ members }) => members.includes(entry.name)).map((group) => group.gid);

  const extra = extraGroups.map((name) => groupId(name, groups));
  return { uid, gid, additionalGids: [...new Set([gid, ...additional, ...extra])] };
}

function groupId(text: string, groups: readonly GroupEntry[]): number {
  const gid = groups.find((group) => group.name === text)?.gid ?? numeric(text);
  if (gid === undefined)
    throw new EngineError(
      "invalid_argument",
      `unable to find group ${text}: no matching entries in group file`,
    );
  return gid;
}

function numeric(text: string): number | undefined {
  if (!/^[0-9]+$/.test(text)) return undefined;
  const id = Number(text);
  if (id > ID_MAX) throw new EngineError("invalid_argument", `uids and gids must be in range 0-${ID_MAX}`);
  return id;
}

function parsePasswd(text: string): PasswdEntry[] {
  return fields(text).map(([name = "", , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }));
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
