import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { EngineError } from "@longshore/errors";
import {
  familiarName,
  familiarString,
  parseReference,
  type Reference,
  tryParseReference,
} from "@longshore/reference";
import type { Container } from "../containers/container.ts";
import { isRunning } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { giveNoName } from "./give-name.ts";
import type { NamedImage } from "./image.ts";
import { emitImageEvent } from "./image-events.ts";
import { DANGLING_PREFIX } from "./image-store.ts";
import { findNamed, shortImageId } from "./inspect-image.ts";
import { originOf, originsOf } from "./origins.ts";

export type Deleted = { Untagged: string } | { Deleted: string };

/**
 * Take a name from an image; without one left, the image itself goes. With the last tag of a repository go the digests by which it is known
 * there. One that a container runs of stays nameless, if its last name is taken by force.
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
  const shown = names.filter((one) => !one.startsWith(DANGLING_PREFIX));
  const users = engine.containers.list().filter(({ record }) => record.imageId === image.id);
  const runs = users.find(({ record }) => isRunning(record.state.status));
  if (name !== undefined && names.includes(name)) {
    const going = withDigestsOf(name, shown);
    if (going.length < shown.length) return untag(engine, named, going);
    const [user] = users;
    if (user && !force) {
      throw new EngineError(
        "conflict",
        `conflict: unable to remove repository reference ${JSON.stringify(nameOrId)} (must force) - container ${shortId(user)} is using its referenced image ${shortImageId(image.id)}`,
      );
    }
    if (runs) {
      await giveNoName(engine.images, image);
      return untag(engine, named, going);
    }
  } else {
    const [user] = users;
    const refuse = (must: string, why: string): never => {
      const message = `conflict: unable to delete ${shortImageId(image.id)} (${must}) - ${why}`;
      throw new EngineError("conflict", message);
    };
    if (runs) refuse("cannot be forced", `image is being used by running container ${shortId(runs)}`);
    if (!isOne(shown) && !force) refuse("must be forced", "image is referenced in multiple repositories");
    if (user && !force) refuse("must be forced", `image is being used by stopped container ${shortId(user)}`);
  }
  const removed = await untag(engine, named, names);
  engine.unpacker.forget();
  emitImageEvent(engine, image, "delete");
  const kept = await layersInUse(engine, image.id);
  const layers = image.chainIds.filter((id) => !kept.has(id)).toReversed();
  return [...removed, { Deleted: image.id }, ...layers.map((id) => ({ Deleted: id }))];
}

/** A name and, if it is the last tag of its repository, the digests that are names there. */
function withDigestsOf(name: string, all: readonly string[]): string[] {
  const tag = parseReference(name);
  if (tag.digest !== undefined) return [name];
  const others = all.filter((one) => one !== name && isOf(parseReference(one), tag));
  const isLastTag = others.every((one) => parseReference(one).digest !== undefined);
  return [name, ...(isLastTag ? others : [])];
}

/** Whether names are but one tag, and digests in the same repository. */
function isOne(names: readonly string[]): boolean {
  const references = names.map(parseReference);
  const [first] = references;
  const tags = references.filter(({ digest }) => digest === undefined);
  return tags.length <= 1 && references.every((one) => first === undefined || isOf(one, first));
}

function isOf({ domain, path }: Reference, other: Reference): boolean {
  return domain === other.domain && path === other.path;
}

/** The layers of all images but one, and those that containers have. */
async function layersInUse(engine: Engine, id: string): Promise<Set<string>> {
  const images = (await engine.images.list()).flatMap(({ image }) => (image.id === id ? [] : [image]));
  const used = await Promise.all(
    engine.containers
      .list()
      .map(({ record }) => engine.images.read(record.manifestDigest).catch(() => undefined)),
  );
  return new Set([...images, ...used].flatMap((image) => image?.chainIds ?? []));
}

const shortId = ({ id }: Container) => id.slice(0, 12);

/** Take names away, and tell of them and of the digests by which the image was known in their repositories. */
async function untag(
  engine: Engine,
  { image, names: all, targets }: NamedImage,
  names: readonly string[],
): Promise<Deleted[]> {
  const removed: string[] = [];
  const left = all.filter((one) => !names.includes(one)).flatMap((one) => tryParseReference(one) ?? []);
  const digests = await pulledDigests(engine, targets);
  for (const [index, name] of names.entries()) {
    // With the last name containerd collects what nothing refers to any more.
    await engine.images.dropName(name, { collect: index === names.length - 1 });
    const reference = name.startsWith(DANGLING_PREFIX) ? undefined : tryParseReference(name);
    if (!reference) continue;
    removed.push(familiarString(reference));
    const isKnownStill = [...left, ...names.slice(index + 1).flatMap((one) => tryParseReference(one) ?? [])];
    if (isKnownStill.some((one) => isOf(one, reference))) continue;
    removed.push(...digests(reference).filter((one) => !removed.includes(one)));
  }
  for (const name of removed) emitImageEvent(engine, image, "untag", { name });
  return removed.map((name) => ({ Untagged: name }));
}

/** By repository, the digests under which it has what was pulled from there or pushed to it. */
async function pulledDigests(
  engine: Engine,
  targets: readonly Descriptor[],
): Promise<(repository: Reference) => string[]> {
  const origins = await Promise.all(
    targets.map(async (target) => ({ target, repositories: await originsOf(engine, target) })),
  );
  return (repository) =>
    origins.flatMap(({ target, repositories }) =>
      repositories.has(originOf(repository)) ? [`${familiarName(repository)}@${target.digest}`] : [],
    );
}
