import { EngineError } from "@longshore/errors";
import { familiarString, tryParseReference } from "@longshore/reference";
import { isRunning } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import type { NamedImage } from "./image.ts";
import { DANGLING_PREFIX } from "./image-store.ts";
import { findNamed, shortImageId } from "./inspect-image.ts";

export type Deleted = { Untagged: string } | { Deleted: string };

/**
 * Take a name from an image; without one left, the image itself goes.
 *
 * @returns what was done, in Docker's form
 * @throws EngineError `not_found`, or `conflict` while a container uses it or several names refer to it
 */
export async function deleteImage(
  engine: Engine,
  nameOrId: string,
  { force }: { force: boolean },
): Promise<Deleted[]> {
  const named = await findNamed(engine, nameOrId);
  const { image, names, name } = named;
  const tags = names.filter((one) => !one.startsWith(DANGLING_PREFIX));
  const byName = name !== undefined && names.includes(name);
  if (byName && tags.length > 1) return untag(engine, named, [name]);

  if (!byName && tags.length > 1 && !force) {
    throw new EngineError(
      "conflict",
      `conflict: unable to delete ${shortImageId(image.id)} (must be forced) - image is referenced in multiple repositories`,
    );
  }
  refuseInUse(engine, named, byName ? nameOrId : shortImageId(image.id), force);
  const removed = await untag(engine, named, names);
  engine.unpacker.forget();
  engine.events.emit("image", "delete", image.id, { name: image.id });
  return [...removed, { Deleted: image.id }, ...image.chainIds.toReversed().map((id) => ({ Deleted: id }))];
}

function refuseInUse(engine: Engine, { image }: NamedImage, shown: string, force: boolean): void {
  for (const { record } of engine.containers.list()) {
    if (record.imageId !== image.id) continue;
    const id = record.id.slice(0, 12);
    if (isRunning(record.state.status)) {
      const must = shown === shortImageId(image.id) ? "cannot be forced" : "must be forced";
      if (force && must === "must be forced") continue;
      throw new EngineError(
        "conflict",
        `conflict: unable to ${must === "must be forced" ? "remove repository reference" : "delete"} ${quoted(shown, must)} (${must}) - ${must === "must be forced" ? `container ${id} is using its referenced image ${shortImageId(image.id)}` : `image is being used by running container ${id}`}`,
      );
    }
    if (!force) {
      throw new EngineError(
        "conflict",
        `conflict: unable to remove repository reference ${JSON.stringify(shown)} (must be forced) - container ${id} is using its referenced image ${shortImageId(image.id)}`,
      );
    }
  }
}

function quoted(shown: string, must: string): string {
  return must === "must be forced" ? JSON.stringify(shown) : shown;
}

async function untag(engine: Engine, { image }: NamedImage, names: readonly string[]): Promise<Deleted[]> {
  const removed: Deleted[] = [];
  for (const [index, name] of names.entries()) {
    // With the last name containerd collects what nothing refers to any more.
    await engine.images.dropName(name, { collect: index === names.length - 1 });
    const reference = name.startsWith(DANGLING_PREFIX) ? undefined : tryParseReference(name);
    if (!reference) continue;
    const shown = familiarString(reference);
    removed.push({ Untagged: shown });
    engine.events.emit("image", "untag", image.id, { name: shown });
  }
  return removed;
}
