import type { Image as ContainerdImage } from "@longshore/api/containerd/services/images/v1/images";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import type { Timestamp } from "@longshore/api/google/protobuf/timestamp";
import { EngineError, errorCode } from "@longshore/errors";
import { formatPlatform, hostPlatform, type Platform, runsOn } from "@longshore/oci";
import {
  canonicalString,
  familiarString,
  isImageId,
  parseReference,
  tryParseReference,
  withDefaultTag,
} from "@longshore/reference";
import type { ContainerdClient } from "../containerd/client.ts";
import { toTimestamp } from "../containerd/timestamp.ts";
import type { ImageNames } from "../state/image-names.ts";
import type { Image, NamedImage } from "./image.ts";
import { manifestSchema } from "./image-config.ts";
import { parseDocument, platformOf, readBlob, readImage } from "./read-image.ts";

const CACHE_MAX = 512;
/** Prefix of the name under which containerd holds an image that has lost its last tag. */
export const DANGLING_PREFIX = "moby-dangling@";
/** Label of a name that points to an index: digest of the manifest that was asked for. */
const CHOSEN_LABEL = "longshore.manifest";

/** An image that was asked for. */
export interface FoundImage {
  image: Image;
  /** Canonical; undefined when it was asked for by its id or a digest. */
  name: string | undefined;
  /** The manifest or index that the name points to; without one, the first that one of the image's names does. */
  target: Descriptor;
}

/** The images in containerd's namespace, read through a cache of their immutable parts. */
export class ImageStore {
  private readonly containerd: ContainerdClient;
  private readonly byTarget = new Map<string, Image>();
  private readonly shared: ImageNames | undefined;

  /** @param shared where other engines look for this one's names */
  constructor(containerd: ContainerdClient, shared: ImageNames | undefined) {
    this.containerd = containerd;
    this.shared = shared;
  }

  /** Whether names can be changed. @throws EngineError `unavailable` while the store that shows them to others is away */
  async checkWritable(): Promise<void> {
    await this.shared?.check();
  }

  /**
   * Let a canonical name point to a manifest or index; labels that others have given it stay.
   *
   * @param chosen digest of the manifest that is meant, of an index
   */
  async setName(name: string, target: Descriptor, chosen: string): Promise<void> {
    await this.checkWritable();
    const now = toTimestamp(new Date());
    const labels: Record<string, string> = chosen === target.digest ? {} : { [CHOSEN_LABEL]: chosen };
    const image = { name, labels, target, createdAt: now, updatedAt: now };
    const { images } = this.containerd;
    try {
      await images.create({ image, sourceDateEpoch: undefined });
    } catch (error) {
      if (errorCode(error) !== "already_exists") throw error;
      const updateMask = ["target", `labels.${CHOSEN_LABEL}`];
      await images.update({ image, updateMask, sourceDateEpoch: undefined });
    }
    await this.shared?.put(name, target, await this.tryRead(chosen));
  }

  /**
   * Take a name away.
   *
   * @param collect wait until what nothing refers to any more is gone
   * @throws EngineError `not_found`
   */
  async dropName(name: string, { collect }: { collect: boolean }): Promise<void> {
    await this.checkWritable();
    await this.containerd.images.delete({ name, sync: collect });
    await this.shared?.drop(name);
  }

  /** Let the others see the names that containerd has, whatever happened to them while nobody looked. */
  async shareNames(): Promise<void> {
    if (!this.shared) return;
    const { images } = await this.containerd.images.list({ filters: [] });
    const held = await Promise.all(
      images.map(async (held) => {
        const image = await this.tryRead(chosenOf(held));
        return [held.name, { target: held.target?.digest ?? "", image }] as const;
      }),
    );
    await this.shared.sync(new Map(held));
  }

  /** The parsed image that a manifest or index digest points to. */
  async read(target: string): Promise<Image> {
    const cached = this.byTarget.get(target);
    if (cached) return cached;
    const image = await readImage(this.containerd, target);
    // Of an index of which only other platforms are here, the host's may come.
    if (image.manifestDigest !== target && !runsHere(image)) return image;
    if (this.byTarget.size >= CACHE_MAX) this.byTarget.delete(this.byTarget.keys().next().value ?? "");
    this.byTarget.set(target, image);
    return image;
  }

  /** Forget an image whose manifest isn't here any more. */
  forget(manifestDigest: string): void {
    for (const [target, image] of this.byTarget)
      if (image.manifestDigest === manifestDigest) this.byTarget.delete(target);
  }

  /**
   * The image that a user names: a reference, an id or the beginning of one.
   * @throws EngineError `not_found` in Docker's words, `invalid_argument` for what can't be a name
   */
  async find(nameOrId: string): Promise<FoundImage> {
    const reference = isImageId(nameOrId) ? undefined : parseReference(nameOrId);
    if (reference) {
      const name = canonicalString(withDefaultTag(reference));
      const found = await this.get(name);
      if (found?.target) return { image: await this.read(chosenOf(found)), name, target: found.target };
    }
    const matches = (await this.list()).filter((named) => matches_(named, nameOrId, reference?.digest));
    // Several platforms of one index have its digest.
    const match = matches.find(({ image }) => runsHere(image)) ?? matches[0];
    const digests = matches.flatMap(({ targets }) => targets.map((target) => target.digest));
    if (new Set(digests).size > 1 && matches.length > 1) {
      throw new EngineError("invalid_argument", `ambiguous image ID prefix: ${nameOrId}`);
    }
    const target = match?.targets.find(({ digest }) => digest === reference?.digest) ?? match?.targets[0];
    if (match && target) return { image: match.image, name: undefined, target };
    throw noSuchImage(nameOrId);
  }

  /**
   * The image that a user names for a platform.
   * @throws EngineError `not_found` as `find`, and in Docker's words for an image of another platform
   */
  async findFor(nameOrId: string, platform: Platform | undefined): Promise<Image> {
    const { image } = await this.find(nameOrId);
    if (platform && !runsOn(platformOf(image.config), platform)) {
      throw wrongPlatform(nameOrId, image, platform);
    }
    return image;
  }

  /** The descriptor of an image's manifest. */
  async manifestOf({ manifestDigest }: Image): Promise<Descriptor> {
    const bytes = await readBlob(this.containerd, manifestDigest);
    const { mediaType } = parseDocument(manifestDigest, bytes, manifestSchema);
    return {
      mediaType: mediaType ?? "application/vnd.oci.image.manifest.v1+json",
      digest: manifestDigest,
      size: BigInt(bytes.length),
      annotations: {},
    };
  }

  /** All images; those whose blobs are incomplete are left out. */
  async list(): Promise<NamedImage[]> {
    const { images } = await this.containerd.images.list({ filters: [] });
    const byId = new Map<string, NamedImage>();
    const read = await Promise.all(
      images.map(async (held) => ({ ...held, image: await this.tryRead(chosenOf(held)) })),
    );
    for (const { name, target, image, updatedAt } of read.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (!image || !target) continue;
      const named = byId.get(image.id) ?? { image, names: [], targets: [], namedAt: undefined };
      byId.set(image.id, named);
      named.names.push(name);
      if (isLater(updatedAt, named.namedAt)) named.namedAt = updatedAt;
      if (!named.targets.some(({ digest }) => digest === target.digest)) named.targets.push(target);
    }
    return [...byId.values()];
  }

  /** containerd's record of a canonical name. */
  async get(name: string): Promise<ContainerdImage | undefined> {
    try {
      return (await this.containerd.images.get({ name })).image;
    } catch (error) {
      if (errorCode(error) === "not_found") return undefined;
      throw error;
    }
  }

  private async tryRead(digest: string): Promise<Image | undefined> {
    try {
      return await this.read(digest);
    } catch (error) {
      if (["not_found", "data_loss"].includes(errorCode(error))) return undefined;
      throw error;
    }
  }
}

function isLater(time: Timestamp | undefined, than: Timestamp | undefined): boolean {
  if (!time || !than) return time !== undefined;
  return time.seconds === than.seconds ? time.nanos > than.nanos : time.seconds > than.seconds;
}

/** Digest of the manifest or index to read for a name. */
export function chosenOf({ labels, target }: ContainerdImage): string {
  return labels[CHOSEN_LABEL] || (target?.digest ?? "");
}

/** Whether an image's programs are for this host. */
export function runsHere({ config }: Image): boolean {
  return runsOn(platformOf(config), hostPlatform());
}

/** Docker's 404 for an image that is here for another platform. */
export function wrongPlatform(name: string, { config }: Image, wanted: Platform): EngineError {
  const actual = formatPlatform(platformOf(config));
  return new EngineError(
    "not_found",
    `image with reference ${name} was found but does not match the specified platform: wanted ${formatPlatform(wanted)}, actual: ${actual}`,
  );
}

/** Docker's 404 for an image, with the tag that a bare name means. */
export function noSuchImage(name: string): EngineError {
  const reference = isImageId(name) ? undefined : tryParseReference(name);
  const shown = reference ? familiarString(withDefaultTag(reference)) : name;
  return new EngineError("not_found", `No such image: ${shown}`);
}

function matches_({ image, targets }: NamedImage, text: string, digest: string | undefined): boolean {
  const digests = targets.map((target) => target.digest);
  if (digest !== undefined) return image.manifestDigest === digest || digests.includes(digest);
  const hex = text.startsWith("sha256:") ? text.slice("sha256:".length) : text;
  if (!/^[a-f0-9]{1,64}$/.test(hex)) return false;
  return [image.id, ...digests].some((id) => id.startsWith(`sha256:${hex}`));
}
