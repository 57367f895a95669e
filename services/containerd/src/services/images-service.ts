import { ImageCreate, ImageDelete, ImageUpdate } from "@longshore/api/containerd/events/image";
import type { Image, ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { EngineError } from "@longshore/errors";
import type { Handlers } from "@longshore/rpc";
import type { ImageMetadata, Image as ImageRecord, StoredImage } from "../metadata/image-metadata.ts";
import { scopeOf } from "../metadata/scope.ts";
import type { PluginContext } from "../plugin.ts";
import { fromRfc3339, toRfc3339 } from "../timestamp.ts";
import { imageEvent } from "./image-event.ts";

/** gRPC: images. @param collect run a garbage collection and wait for its end */
export function imagesHandlers(
  images: ImageMetadata,
  collect: () => Promise<unknown>,
  publish: PluginContext["publish"],
): Handlers<typeof ImagesDefinition> {
  return {
    async get({ name }, context) {
      return { image: imageMessage(await images.get(scopeOf(context), name)) };
    },
    async list({ filters }, context) {
      return { images: (await images.list(scopeOf(context), filters)).map(imageMessage) };
    },
    async create({ image, sourceDateEpoch }, context) {
      const scope = scopeOf(context);
      const time = sourceDateEpoch && toRfc3339(sourceDateEpoch);
      const created = await images.create(scope, requireImage(image), time);
      const { name, labels } = created;
      publish(scope.namespace, "/images/create", imageEvent("ImageCreate", ImageCreate, { name, labels }));
      return { image: imageMessage(created) };
    },
    async update({ image, updateMask, sourceDateEpoch }, context) {
      const scope = scopeOf(context);
      const time = sourceDateEpoch && toRfc3339(sourceDateEpoch);
      const updated = await images.update(scope, requireImage(image), updateMask ?? [], time);
      const { name, labels } = updated;
      publish(scope.namespace, "/images/update", imageEvent("ImageUpdate", ImageUpdate, { name, labels }));
      return { image: imageMessage(updated) };
    },
    async delete({ name, sync, target }, context) {
      const scope = scopeOf(context);
      await images.delete(scope, name, target?.digest);
      publish(scope.namespace, "/images/delete", imageEvent("ImageDelete", ImageDelete, { name }));
      if (sync) await collect();
      return {};
    },
  };
}

function requireImage(image: Image | undefined): ImageRecord {
  if (!image || image.name === "") throw new EngineError("invalid_argument", "Image.Name required");
  const { mediaType = "", digest = "", size = 0n, annotations = {} } = image.target ?? {};
  return {
    name: image.name,
    labels: image.labels,
    target: { mediaType, digest, size: Number(size), annotations },
  };
}

function imageMessage({ name, labels, target, createdAt, updatedAt }: StoredImage): Image {
  return {
    name,
    labels,
    target: { ...target, size: BigInt(target.size) },
    createdAt: fromRfc3339(createdAt),
    updatedAt: fromRfc3339(updatedAt),
  };
}
