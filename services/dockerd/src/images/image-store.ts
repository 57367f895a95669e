import type { Image as ContainerdImage } from "@longshore/api/containerd/services/images/v1/images";
import { EngineError, errorCode } from "@longshore/errors";
import {
  canonicalString,
  familiarString,
  isImageId,
  tryParseReference,
  withDefaultTag,
} from "@longshore/reference";
import type { ContainerdClient } from "../containerd/client.ts";
import type { Image, NamedImage } from "./image.ts";
import { readImage } from "./read-image.ts";

const CACHE_MAX = 512;
/** Prefix of the name under which containerd holds an image that has lost its last tag. */
export const DANGLING_PREFIX = "moby-dangling@";

/** The images in containerd's namespace, read through a cache of their immutable parts. */
export class ImageStore {
  private readonly containerd: ContainerdClient;
  private readonly byTarget = new Map<string, Image>();

  constructor(containerd: ContainerdClient) {
    this.containerd = containerd;
  }

  /** The parsed image that a manifest or index digest points to. */
  async read(target: string): Promise<Image> {
    const cached = this.byTarget.get(target);
    if (cached) return cached;
    const image = await readImage(this.containerd, target);
    if (this.byTarget.size >= CACHE_MAX) this.byTarget.delete(this.byTarget.keys().next().value ?? "");
    this.byTarget.set(target, image);
    return image;
  }

  /**
   * The image that a user names: a reference, an id or the beginning of one.
   * @throws EngineError `not_found` in Docker's words
   */
  async find(nameOrId: string): Promise<{ image: Image; name: string | undefined }> {
    const reference = isImageId(nameOrId) ? undefined : tryParseReference(nameOrId);
    if (reference) {
      const name = canonicalString(withDefaultTag(reference));
      const found = await this.get(name);
      if (found) return { image: await this.read(found.target?.digest ?? ""), name };
    }
    const matches = (await this.list()).filter((named) => matches_(named, nameOrId, reference?.digest));
    const [match] = matches;
    if (matches.length > 1) {
      throw new EngineError("invalid_argument", `ambiguous image ID prefix: ${nameOrId}`);
    }
    if (match) return { image: match.image, name: undefined };
    throw noSuchImage(nameOrId);
  }

  /** All images; those whose blobs are incomplete are left out. */
  async list(): Promise<NamedImage[]> {
    const { images } = await this.containerd.images.list({ filters: [] });
    const byId = new Map<string, NamedImage>();
    await Promise.all(
      images.map(async ({ name, target }) => {
        const digest = target?.digest ?? "";
        const image = await this.tryRead(digest);
        if (!image) return;
        const named = byId.get(image.id) ?? { image, names: [], targets: [] };
        byId.set(image.id, named);
        named.names.push(name);
        if (!named.targets.includes(digest)) named.targets.push(digest);
      }),
    );
    for (const named of byId.values()) named.names.sort();
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

/** Docker's 404 for an image, with the tag that a bare name means. */
export function noSuchImage(name: string): EngineError {
  const reference = isImageId(name) ? undefined : tryParseReference(name);
  const shown = reference ? familiarString(withDefaultTag(reference)) : name;
  return new EngineError("not_found", `No such image: ${shown}`);
}

function matches_({ image, targets }: NamedImage, text: string, digest: string | undefined): boolean {
  if (digest !== undefined) return image.manifestDigest === digest || targets.includes(digest);
  const hex = text.startsWith("sha256:") ? text.slice("sha256:".length) : text;
  if (!/^[a-f0-9]{1,64}$/.test(hex)) return false;
  return [image.id, ...targets].some((id) => id.startsWith(`sha256:${hex}`));
}
