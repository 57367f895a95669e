import { errorCode } from "@longshore/errors";
import type { ContentStore } from "./content-store.ts";
import { repositoriesOf } from "./labels.ts";
import type { Descriptor } from "./manifest.ts";
import { MANIFEST_LIMIT_BYTES, type Repository } from "./registry/repository.ts";
import type { BlobSource } from "./registry/uploads.ts";
import { type FetchedManifest, fetchManifest, verified } from "./resolve.ts";

/** Where the parts of an image come from that is pushed. */
export interface ImageSource {
  /** Undefined when it isn't there. */
  manifest(descriptor: Descriptor, signal: AbortSignal): Promise<FetchedManifest | undefined>;
  has(descriptor: Descriptor, signal: AbortSignal): Promise<boolean>;
  blob(descriptor: Descriptor): BlobSource;
  /** Repositories of a host that may hold a blob. */
  repositories(digest: string, domain: string, signal: AbortSignal): Promise<string[]>;
}

/** An image in containerd's content store. */
export function storedImage(store: ContentStore): ImageSource {
  return {
    async manifest({ mediaType, digest }, signal) {
      if (!(await store.info(digest, signal))) return undefined;
      const bytes = await store.read(digest, MANIFEST_LIMIT_BYTES, signal);
      return verified(digest, { bytes, contentType: mediaType, digest });
    },
    async has({ digest }, signal) {
      return (await store.info(digest, signal)) !== undefined;
    },
    blob: ({ digest, size }) => ({
      digest,
      size,
      read: (offset, signal) => store.stream(digest, offset, signal),
    }),
    async repositories(digest, domain, signal) {
      const info = await store.info(digest, signal);
      return info ? repositoriesOf(domain, info.labels) : [];
    },
  };
}

/** An image in another repository, which is passed on without being kept. */
export function remoteImage(repository: Repository): ImageSource {
  return {
    async manifest({ digest }, signal) {
      try {
        return await fetchManifest(repository, digest, signal);
      } catch (error) {
        if (errorCode(error) === "not_found") return undefined;
        throw error;
      }
    },
    has: async () => true,
    blob: ({ digest, size }) => ({
      digest,
      size,
      async *read(offset, signal) {
        const { start, body } = await repository.blob(digest, { offset }, signal);
        let skip = offset - start;
        for await (const piece of body) {
          const skipped = Math.min(skip, piece.length);
          skip -= skipped;
          if (skipped < piece.length) yield piece.subarray(skipped);
        }
      },
    }),
    async repositories(_digest, domain) {
      const { reference } = repository;
      return reference.domain === domain ? [reference.path] : [];
    },
  };
}
