import { EngineError, errorCode } from "@longshore/errors";
import type { ContainerRecord } from "../containers/container.ts";
import type { Engine } from "../engine.ts";
import type { Filters } from "../http/filters.ts";
import { isPlain } from "./list-volumes.ts";
import type { MountPoint } from "./mount-point.ts";
import { directorySize } from "./volume-size.ts";
import { ANONYMOUS_LABEL } from "./volumes.ts";

export const PRUNE_FILTERS = ["all", "label", "label!"] as const;

/**
 * Whether volumes with names are meant too.
 * @throws EngineError `invalid_argument` for several values, or one that isn't of Go's words for truth
 */
export function isAllAsked(filters: Filters): boolean {
  const [all = "false", ...more] = filters.get("all");
  if (more.length > 0) {
    const message = `invalid filter 'all=[${[all, ...more].join(" ")}]': only one value is expected`;
    throw new EngineError("invalid_argument", message);
  }
  if (/^(1|t|T|true|TRUE|True)$/.test(all)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(all)) return false;
  const why = `strconv.ParseBool: parsing ${JSON.stringify(all)}: invalid syntax`;
  throw new EngineError("invalid_argument", `invalid filter 'all': ${why}`);
}

/**
 * Remove volumes that no container has: those that nobody gave a name, or all. As with Docker, those with options stay: to remove them would
 * free nothing here, and what they are of would have to be described anew.
 */
export async function pruneVolumes(
  engine: Engine,
  filters: Filters,
  { all }: { all: boolean },
): Promise<object> {
  const removed: string[] = [];
  let reclaimed = 0;
  for (const volume of engine.volumes.list()) {
    const { name, labels } = volume;
    if (!isPlain(volume)) continue;
    if (!all && !Object.hasOwn(labels ?? {}, ANONYMOUS_LABEL)) continue;
    if (!filters.matchLabels(labels ?? {})) continue;
    if (filters.has("label!") && filters.matchLabels(labels ?? {}, "label!")) continue;
    if (engine.volumes.usersOf(name).length > 0) continue;
    const size = await directorySize(engine.volumes.mountpoint(name));
    try {
      await engine.volumes.remove(name);
    } catch (error) {
      if (!["not_found", "conflict"].includes(errorCode(error))) throw error; // gone or in use by now
      continue;
    }
    removed.push(name);
    reclaimed += size;
  }
  engine.events.emit("volume", "prune", "", { reclaimed: String(reclaimed) });
  return { VolumesDeleted: removed, SpaceReclaimed: reclaimed };
}

/** Let a container's volumes that nobody gave a name go out of sight, to be removed with it; not those that others have too. */
export function leaveAnonymousVolumes(engine: Engine, { id, mounts }: ContainerRecord): void {
  for (const name of anonymousVolumes(mounts)) engine.volumes.leave(name, id);
}

function anonymousVolumes(mounts: readonly MountPoint[]): Set<string> {
  return new Set(
    mounts.flatMap(({ type, anonymous, name }) => (type === "volume" && anonymous ? [name] : [])),
  );
}

/** Remove a container's volumes that nobody gave a name, unless other containers have them too. */
export async function removeAnonymousVolumes(engine: Engine, { id, mounts }: ContainerRecord): Promise<void> {
  for (const name of anonymousVolumes(mounts)) {
    try {
      await engine.volumes.remove(name, id);
    } catch (error) {
      if (!["not_found", "conflict"].includes(errorCode(error))) throw error;
    }
  }
}
