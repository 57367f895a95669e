import { isDigest } from "@longshore/digest";
import { EngineError } from "@longshore/errors";
import { timestampNow, toRfc3339 } from "../timestamp.ts";
import type { Database, ImageRecord } from "./database.ts";
import { lookupIn, parseFilters } from "./filter.ts";
import { storedLabels, updatedLabels } from "./labels.ts";
import type { Scope } from "./scope.ts";

export interface Image extends Omit<ImageRecord, "createdAt" | "updatedAt"> {
  readonly name: string;
}

export type StoredImage = Image & ImageRecord;

/** Named pointers to manifests and indexes. Each is a root of garbage collection unless it carries `containerd.io/gc.expire`. */
export class ImageMetadata {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /** @throws EngineError `not_found` */
  async get({ namespace }: Scope, name: string): Promise<StoredImage> {
    const record = await this.database.images(namespace).get(name);
    if (!record) throw new EngineError("not_found", `image ${JSON.stringify(name)}: not found`);
    return { name, ...record };
  }

  async list({ namespace }: Scope, filters: readonly string[]): Promise<StoredImage[]> {
    const matches = parseFilters(filters);
    const records = await this.database.images(namespace).list();
    return records
      .map(({ key, value }) => ({ name: key, ...value }))
      .filter((image) => matches((path) => fieldOf(image, path)));
  }

  /** @param time RFC 3339, instead of the present (SOURCE_DATE_EPOCH) @throws EngineError `already_exists`, `invalid_argument` */
  create(scope: Scope, image: Image, time = toRfc3339(timestampNow())): Promise<StoredImage> {
    return this.database.write(async () => {
      const record = { ...validated(image), createdAt: time, updatedAt: time };
      const images = this.database.images(scope.namespace);
      if (await images.get(image.name)) {
        throw new EngineError("already_exists", `image ${JSON.stringify(image.name)}: already exists`);
      }
      await this.database.commit(scope.namespace, [
        images.put(image.name, record),
        ...(await this.leaseChanges(scope, image)),
      ]);
      return { name: image.name, ...record };
    });
  }

  /**
   * Replace what the paths name: `target`, `labels`, `labels.<key>`, `annotations`, `annotations.<key>`; everything when there is none.
   *
   * @throws EngineError `not_found`, `invalid_argument`
   */
  update(
    scope: Scope,
    image: Image,
    paths: readonly string[],
    time = toRfc3339(timestampNow()),
  ): Promise<StoredImage> {
    return this.database.write(async () => {
      const old = await this.get(scope, image.name);
      const updated = validated(paths.length === 0 ? image : merged(old, image, paths));
      const record = { ...updated, createdAt: old.createdAt, updatedAt: time };
      await this.database.commit(scope.namespace, [
        this.database.images(scope.namespace).put(image.name, record),
        ...(await this.leaseChanges(scope, { ...record, name: image.name })),
      ]);
      // What the old target held may be garbage now.
      if (old.target.digest !== record.target.digest) this.database.onDirty();
      return { name: image.name, ...record };
    });
  }

  /** @param target only delete while it points there @throws EngineError `not_found` */
  async delete(scope: Scope, name: string, target?: string): Promise<void> {
    const { database } = this;
    await database.write(async () => {
      const image = await this.get(scope, name);
      if (target && image.target.digest !== target) {
        const what = `image ${JSON.stringify(name)} has target ${image.target.digest}, not ${target}`;
        throw new EngineError("not_found", `${what}: not found`);
      }
      await database.commit(scope.namespace, [
        database.images(scope.namespace).delete(name),
        ...database.unleaseChanges(scope, { type: "images", id: name }),
      ]);
    });
    database.onDirty();
  }

  /** Only images that expire need a lease: the others stay anyway. */
  private async leaseChanges(scope: Scope, { name, labels }: Image) {
    const expires = "containerd.io/gc.expire" in labels;
    return expires ? this.database.leaseChanges(scope, { type: "images", id: name }) : [];
  }
}

function merged(old: StoredImage, wanted: Image, paths: readonly string[]): Image {
  let target = old.target;
  const labels = updatedLabels(old.labels, wanted.labels, paths, (path) => {
    if (path === "target") {
      target = wanted.target;
    } else if (path === "annotations") {
      target = { ...target, annotations: wanted.target.annotations };
    } else if (path.startsWith("annotations.")) {
      const key = path.slice("annotations.".length);
      target = {
        ...target,
        annotations: { ...target.annotations, [key]: wanted.target.annotations[key] ?? "" },
      };
    } else {
      const what = `cannot update ${JSON.stringify(path)} field on image ${JSON.stringify(wanted.name)}`;
      throw new EngineError("invalid_argument", `${what}: invalid argument`);
    }
  });
  return { name: wanted.name, target, labels };
}

function validated({ name, target, labels }: Image): Omit<Image, "name"> {
  if (name === "")
    throw new EngineError("invalid_argument", "image name must not be empty: invalid argument");
  const stored = storedLabels("image.Labels", labels);
  if (!isDigest(target.digest)) {
    const what = `target.Digest ${JSON.stringify(target.digest)} invalid: invalid checksum digest format`;
    throw new EngineError("invalid_argument", `${what}: invalid argument`);
  }
  if (target.size <= 0) {
    throw new EngineError("invalid_argument", "target.Size must be greater than zero: invalid argument");
  }
  if (target.mediaType === "") {
    throw new EngineError("invalid_argument", "target.MediaType must be set: invalid argument");
  }
  return { target, labels: stored };
}

function fieldOf(image: Image, [field, ...rest]: readonly string[]): string | undefined {
  switch (field) {
    case "name":
      return image.name;
    case "target":
      if (rest[0] === "digest") return image.target.digest;
      return rest[0] === "mediatype" ? image.target.mediaType : undefined;
    case "labels":
      return lookupIn(image.labels, rest);
    case "annotations":
      return lookupIn(image.target.annotations, rest);
    default:
      return undefined;
  }
}
