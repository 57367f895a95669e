import { EngineError } from "@longshore/errors";
import { familiarString, tryParseReference } from "@longshore/reference";
import type { Container } from "../containers/container.ts";
import { isRunning } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { giveNoName } from "./give-name.ts";
import type { NamedImage } from "./image.ts";
import { DANGLING_PREFIX } from "./image-store.ts";
import { findNamed, shortImageId } from "./inspect-image.ts";

export type Deleted = { Untagged: string } | { Deleted: string };

/**
 * Take a name from an image; without one left, the image itself goes. One that a container runs of stays nameless, if its last name is taken
 * by force.
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
  const users = engine.containers.list().filter(({ record }) => record.imageId === image.id);
  const runs = users.find(({ record }) => isRunning(record.state.status));
  if (name !== undefined && names.includes(name)) {
    if (tags.length > 1) return untag(engine, named, [name]);
    const [user] = users;
    if (user && !force) {
      throw new EngineError(
        "conflict",
        `conflict: unable to remove repository reference ${JSON.stringify(nameOrId)} (must force) - container ${shortId(user)} is using its referenced image ${shortImageId(image.id)}`,
      );
    }
    if (runs) {
      await giveNoName(engine.images, image);
      return untag(engine, named, [name]);
    }
  } else {
    const [user] = users;
    const refuse = (must: string, why: string): never => {
      const message = `conflict: unable to delete ${shortImageId(image.id)} (${must}) - ${why}`;
      throw new EngineError("conflict", message);
    };
    if (runs) refuse("cannot be forced", `image is being used by running container ${shortId(runs)}`);
    if (tags.length > 1 && !force) refuse("must be forced", "image is referenced in multiple repositories");
    if (user && !force) refuse("must be forced", `image is being used by stopped container ${shortId(user)}`);
  }
  const removed = await untag(engine, named, names);
  engine.unpacker.forget();
  engine.events.emit("image", "delete", image.id, { name: image.id });
  return [...removed, { Deleted: image.id }, ...image.chainIds.toReversed().map((id) => ({ Deleted: id }))];
}

const shortId = ({ id }: Container) => id.slice(0, 12);

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
