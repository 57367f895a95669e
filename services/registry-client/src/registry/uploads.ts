import { EngineError, errorCode } from "@longshore/errors";
import type { Reference } from "@longshore/reference";
import { type HttpResponse, pause } from "./http.ts";
import { backoff } from "./retry.ts";
import { repositoryScope } from "./scopes.ts";
import type { ApiRequest, Connection, Session } from "./session.ts";

/** Bytes to send, readable from any offset, as often as need be. */
export interface BlobSource {
  readonly digest: string;
  readonly size: number;
  read(offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface UploadOptions {
  /** Repositories of the same registry that may hold the blob. */
  mountFrom: readonly string[];
  /** Called with the bytes that were sent so far. */
  onProgress: (offset: number) => void;
  signal: AbortSignal;
}

export type UploadResult = { kind: "exists" } | { kind: "mounted"; from: string } | { kind: "uploaded" };

/** Up to this a blob goes along with the request that ends its upload. */
const SMALL_BYTES = 1 << 20;
/** For registries that refuse longer requests. */
const CHUNK_BYTES = 16 << 20;
const MOUNT_ATTEMPTS = 3;
const ATTEMPTS_WITHOUT_PROGRESS = 5;
const ATTEMPTS = 50;
const LOST = "the registry lost the upload";

/** An upload under way, where the registry said that it goes on. */
interface Upload {
  readonly location: URL;
  readonly offset: number;
  /** The shortest that a chunk may be, but for the last. */
  readonly chunkMin: number;
}

/**
 * Brings blobs into a repository: not at all when they are there, by mounting, or by sending them; after a broken connection from
 * where the registry says that it is.
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
 */
export class BlobUploader {
  readonly #session: Session;
  readonly #reference: Reference;

  constructor(session: Session, reference: Reference) {
    this.#session = session;
    this.#reference = reference;
  }

  upload(blob: BlobSource, options: UploadOptions): Promise<UploadResult> {
    return this.#session.tryEach("push", options.signal, (connection) =>
      this.#upload(connection, blob, options),
    );
  }

  async #upload(connection: Connection, blob: BlobSource, options: UploadOptions): Promise<UploadResult> {
    const { signal } = options;
    if (await this.#exists(connection, blob.digest, signal)) return { kind: "exists" };
    const begun = await this.#begin(connection, blob, options);
    if ("from" in begun) return { kind: "mounted", from: begun.from };
    await this.#send(connection, blob, begun, options);
    return { kind: "uploaded" };
  }

  async #exists(connection: Connection, digest: string, signal: AbortSignal): Promise<boolean> {
    const response = await this.#request(connection, { method: "HEAD", target: `blobs/${digest}`, signal });
    await response.discard();
    if (response.status === 200) return true;
    // A registry that refuses to say is asked to take it, and then tells why not.
    if ([401, 403, 404, 405].includes(response.status)) return false;
    throw await this.#refusal(response);
  }

  /** Mount it from where it is, or begin an upload. */
  async #begin(
    connection: Connection,
    { digest }: BlobSource,
    { mountFrom, signal }: UploadOptions,
  ): Promise<Upload | { from: string }> {
    const candidates = mountFrom.filter((path) => path !== this.#reference.path).slice(0, MOUNT_ATTEMPTS);
    for (const [index, from] of candidates.entries()) {
      const query = new URLSearchParams({ mount: digest, from });
      const response = await this.#request(connection, {
        method: "POST",
        target: `blobs/uploads/?${query}`,
        headers: { "content-length": "0" },
        more: [repositoryScope(from, "pull")],
        signal,
      });
      if (response.status === 201) {
        await response.discard();
        return { from };
      }
      // What may not be read there may be sent all the same.
      if (response.status !== 202) await response.discard();
      else if (index === candidates.length - 1) return await this.#begunUpload(connection, response);
      else await this.#cancel(connection, await this.#begunUpload(connection, response), signal);
    }
    const target = "blobs/uploads/";
    const headers = { "content-length": "0" };
    const response = await this.#request(connection, { method: "POST", target, headers, signal });
    if (response.status !== 202) throw await this.#refusal(response);
    return this.#begunUpload(connection, response);
  }

  async #send(
    connection: Connection,
    blob: BlobSource,
    begun: Upload,
    options: UploadOptions,
  ): Promise<void> {
    const { signal } = options;
    let upload = begun;
    let chunkBytes = Number.POSITIVE_INFINITY;
    let idle = 0;
    let furthest = 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        while (upload.offset < blob.size && !(upload.offset === 0 && blob.size <= SMALL_BYTES)) {
          const end = Math.min(blob.size, upload.offset + chunkBytes);
          upload = await this.#patch(connection, blob, upload, end, options);
        }
        await this.#finish(connection, blob, upload, options);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof TooLargeError && chunkBytes > CHUNK_BYTES) {
          chunkBytes = Math.max(CHUNK_BYTES, upload.chunkMin);
          upload = await this.#again(connection, blob, options);
          continue;
        }
        if (errorCode(error) !== "unavailable") throw error;
        const resumed = await this.#status(connection, upload, signal);
        idle = (resumed?.offset ?? 0) > furthest ? 0 : idle + 1;
        furthest = Math.max(furthest, resumed?.offset ?? 0);
        if (idle >= ATTEMPTS_WITHOUT_PROGRESS || attempt >= ATTEMPTS) throw error;
        await pause(backoff(idle + 1, this.#session.limits.backoffMs), signal);
        upload = resumed ?? (await this.#again(connection, blob, options));
        options.onProgress(upload.offset);
      }
    }
  }

  /** From the start, where the registry has lost what it had. */
  async #again(connection: Connection, blob: BlobSource, options: UploadOptions): Promise<Upload> {
    const begun = await this.#begin(connection, blob, { ...options, mountFrom: [] });
    if ("from" in begun) throw new Error("mounted without being asked to");
    return begun;
  }

  async #patch(
    connection: Connection,
    blob: BlobSource,
    upload: Upload,
    end: number,
    options: UploadOptions,
  ): Promise<Upload> {
    const { offset, location } = upload;
    const whole = offset === 0 && end === blob.size;
    const response = await this.#request(connection, {
      method: "PATCH",
      target: location,
      headers: {
        "content-type": "application/octet-stream",
        // A stream of everything is no chunk, and some registries take it only without a range.
        ...(!whole && { "content-range": `${offset}-${end - 1}` }),
      },
      body: {
        bytes: end - offset,
        pieces: () => counted(blob, { offset, end }, options),
      },
      attempts: 1,
      signal: options.signal,
    });
    if (response.status === 202 || response.status === 204) {
      const next = await this.#begunUpload(connection, response, upload);
      return { ...next, offset: rangeEnd(response) ?? end };
    }
    throw await this.#uploadRefusal(response);
  }

  async #finish(
    connection: Connection,
    blob: BlobSource,
    { location, offset }: Upload,
    options: UploadOptions,
  ): Promise<void> {
    const target = new URL(location);
    target.searchParams.set("digest", blob.digest);
    const rest = blob.size - offset;
    const response = await this.#request(connection, {
      method: "PUT",
      target,
      headers: { "content-type": "application/octet-stream", ...(rest === 0 && { "content-length": "0" }) },
      ...(rest > 0 && {
        body: { bytes: rest, pieces: () => counted(blob, { offset, end: blob.size }, options) },
      }),
      attempts: 1,
      signal: options.signal,
    });
    if (response.status !== 201) throw await this.#uploadRefusal(response);
    await response.discard();
    options.onProgress(blob.size);
  }

  /** Where the registry is with an upload; undefined when it doesn't know it any more. */
  async #status(connection: Connection, upload: Upload, signal: AbortSignal): Promise<Upload | undefined> {
    const response = await this.#request(connection, { method: "GET", target: upload.location, signal });
    await response.discard();
    if (response.status !== 204) return undefined;
    const location = response.headers.get("location");
    return {
      ...upload,
      location: location === null ? upload.location : new URL(location, connection.api),
      offset: rangeEnd(response) ?? 0,
    };
  }

  async #cancel(connection: Connection, { location }: Upload, signal: AbortSignal): Promise<void> {
    const response = await this.#request(connection, {
      method: "DELETE",
      target: location,
      attempts: 1,
      signal,
    });
    await response.discard();
  }

  async #begunUpload(connection: Connection, response: HttpResponse, before?: Upload): Promise<Upload> {
    const location = response.headers.get("location");
    const chunkMin = Number(response.headers.get("oci-chunk-min-length") ?? before?.chunkMin ?? 0);
    await response.discard();
    const url = location === null ? before?.location : URL.parse(location, connection.api);
    if (!url || (url.protocol === "http:" && connection.api.startsWith("https:"))) {
      throw new EngineError("unknown", "the registry named no valid place for the upload");
    }
    return { location: url, offset: 0, chunkMin: Number.isSafeInteger(chunkMin) ? chunkMin : 0 };
  }

  #request(
    connection: Connection,
    { target, more = [], ...request }: Omit<ApiRequest, "scopes"> & { more?: string[] },
  ): Promise<HttpResponse> {
    const { path } = this.#reference;
    return this.#session.request(connection, {
      ...request,
      target: typeof target === "string" ? `${path}/${target}` : target,
      scopes: [repositoryScope(path, "pull", "push"), ...more],
    });
  }

  async #uploadRefusal(response: HttpResponse): Promise<EngineError> {
    if (response.status === 413) {
      await response.discard();
      return new TooLargeError();
    }
    if (response.status === 404 || response.status === 416) {
      await response.discard();
      return new EngineError("unavailable", LOST);
    }
    return this.#refusal(response);
  }

  #refusal(response: HttpResponse): Promise<EngineError> {
    return this.#session.refusal(response, this.#reference, "push");
  }
}

/** The registry, or something before it, takes no request that long. */
class TooLargeError extends EngineError {
  constructor() {
    super("resource_exhausted", "the registry refuses a request of that size");
  }
}

async function* counted(
  blob: BlobSource,
  { offset, end }: { offset: number; end: number },
  { onProgress, signal }: UploadOptions,
): AsyncGenerator<Uint8Array> {
  let at = offset;
  for await (const piece of blob.read(offset, signal)) {
    const part = piece.subarray(0, end - at);
    at += part.length;
    yield part;
    onProgress(at);
    if (at >= end) return;
  }
  throw new EngineError("data_loss", `blob ${blob.digest} ends after ${at} of ${blob.size} bytes`);
}

/** `Range: 0-N`: the offset behind its last byte. A fresh upload says `0-0`, which is no byte. */
function rangeEnd(response: HttpResponse): number | undefined {
  const [, end] = /^(?:bytes=)?0-(\d+)$/.exec(response.headers.get("range") ?? "") ?? [];
  if (end === undefined) return undefined;
  return end === "0" ? 0 : Number(end) + 1;
}
