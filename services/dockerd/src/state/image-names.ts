import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import type { Change, Collection, Store } from "@longshore/store";
import { collection } from "@longshore/store";
import type { Image } from "../images/image.ts";

/** What the fleet is told of an image's name; key: the name, canonical. */
export interface ImageNameRecord {
  /** Digest of the manifest or index that it points to. */
  target: string;
  imageId: string;
  /** RFC 3339; empty when the image doesn't say. */
  created: string;
  sizeBytes: number;
  labels: Record<string, string>;
}

export function imageNames(store: Store): Collection<ImageNameRecord> {
  return collection<ImageNameRecord>(store, "image-names");
}

/**
 * An engine's image names in the store that it shares with others. containerd is where they count; what stands in the store is for the
 * others to see.
 */
export class ImageNames {
  private readonly store: Store;
  private readonly records: Collection<ImageNameRecord>;

  constructor(store: Store) {
    this.store = store;
    this.records = imageNames(store);
  }

  /** To be called before a name changes. @throws EngineError `unavailable` while the store is away */
  check(): Promise<void> {
    return this.store.check();
  }

  /** A name points to something now. */
  async put(name: string, target: Descriptor, image: Image | undefined): Promise<void> {
    await this.keep([this.records.put(name, recordOf(target.digest, image))]);
  }

  async drop(name: string): Promise<void> {
    await this.keep([this.records.delete(name)]);
  }

  /** Make the store say what containerd has. */
  async sync(held: ReadonlyMap<string, { target: string; image: Image | undefined }>): Promise<void> {
    const known = new Map((await this.records.list()).map(({ key, value }) => [key, value]));
    const changes: Change[] = [];
    for (const [name, { target, image }] of held) {
      const record = recordOf(target, image);
      const before = known.get(name);
      // Of one index another platform's image may be meant by now.
      const isSame = before?.target === target && before.imageId === record.imageId;
      if (!isSame) changes.push(this.records.put(name, record));
    }
    for (const name of known.keys()) if (!held.has(name)) changes.push(this.records.delete(name));
    if (changes.length > 0) await this.keep(changes);
  }

  /** It has happened: what can't be written now is kept until the store is back. */
  private keep(changes: Change[]): Promise<void> {
    return this.store.commit(changes, [], { outlive: "process", whenAway: "keep" });
  }
}

function recordOf(target: string, image: Image | undefined): ImageNameRecord {
  return {
    target,
    imageId: image?.id ?? "",
    created: image?.config.created ?? "",
    sizeBytes: image?.contentBytes ?? 0,
    labels: image?.config.config?.Labels ?? {},
  };
}
