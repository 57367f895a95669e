import fs from "node:fs";
import type { Owners } from "@longshore/archive";
import { EngineError } from "@longshore/errors";

/** What ids without a name in a user namespace are there (user_namespaces(7)). */
const OVERFLOW_ID = 65_534;

type Kind = "uid" | "gid";
type Ranges = readonly { inside: number; outside: number; size: number }[];

/** Ids as a process has them; undefined for those of the host. */
export function ownersOf(pid: number): Owners | undefined {
  const read = (kind: Kind) => parseRanges(fs.readFileSync(`/proc/${pid}/${kind}_map`, "utf8"));
  const ranges: Record<Kind, Ranges> = { uid: read("uid"), gid: read("gid") };
  return isIdentity(ranges.uid) && isIdentity(ranges.gid) ? undefined : makeOwners(ranges);
}

export function makeOwners(ranges: Readonly<Record<Kind, Ranges>>): Owners {
  return {
    inside: (kind, id) => translate(ranges[kind], id, "outside", "inside") ?? OVERFLOW_ID,
    outside(kind, id) {
      const found = translate(ranges[kind], id, "inside", "outside");
      if (found !== undefined) return found;
      throw new EngineError("invalid_argument", `Container ID ${id} cannot be mapped to a host ID`);
    },
  };
}

/** A uid_map or gid_map. */
export function parseRanges(text: string): Ranges {
  return text
    .trim()
    .split("\n")
    .map((line) => {
      const [inside = 0, outside = 0, size = 0] = line.trim().split(/\s+/).map(Number);
      return { inside, outside, size };
    });
}

function isIdentity(ranges: Ranges): boolean {
  return ranges.every(({ inside, outside }) => inside === outside);
}

function translate(ranges: Ranges, id: number, from: "inside" | "outside", to: "inside" | "outside") {
  const range = ranges.find((one) => id >= one[from] && id < one[from] + one.size);
  return range && id - range[from] + range[to];
}
