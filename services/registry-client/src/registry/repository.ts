import { EngineError, errorCode, toEngineError } from "@longshore/errors";
import type { Reference } from "@longshore/reference";
import type { Descriptor } from "../manifest.ts";
import { ACCEPT, OCI_INDEX } from "../media-types.ts";
import type { Credentials } from "./credentials.ts";
import type { HttpResponse } from "./http.ts";
import { PAGE, pages, readPages } from "./pages.ts";
import type { RateLimit } from "./rate-limit.ts";
import { parseReferrers, type Referrer, referrersTagOf } from "./referrers.ts";
import { repositoryScope } from "./scopes.ts";
import { type ApiRequest, type Connection, type RegistryOptions, Session } from "./session.ts";

/** A manifest or index is refused when it is longer; the originals have the same limit. */
export const MANIFEST_LIMIT_BYTES = 4 << 20;

export interface ManifestAnswer {
  bytes: Buffer<ArrayBuffer>;
  /** Without parameters; empty when the registry named none. */
  contentType: string;
  /** What the registry says the digest is; empty when it does not say. */
  digest: string;
}

export interface BlobAnswer {
  /** Where in the blob the body starts: the offset asked for, or 0 from a registry that can't do ranges. */
  start: number;
  /** It is a range that was asked for, or the registry says that it can do them. */
  ranges: boolean;
  body: AsyncIterable<Uint8Array>;
}

/** One repository, at the registry of its domain or at a mirror of that: what is read from it. */
export class Repository {
  readonly reference: Reference;
  readonly session: Session;

  constructor(reference: Reference, credentials: Credentials, options: RegistryOptions) {
    this.reference = reference;
    this.session = new Session(reference.domain, credentials, options);
  }

  get rateLimit(): RateLimit | undefined {
    return this.session.rateLimit;
  }

  /** The digest that a tag has now, by HEAD; undefined when the registry does not tell it that way. */
  head(tagOrDigest: string, signal: AbortSignal): Promise<string | undefined> {
    return this.session.tryEach("resolve", signal, async (connection) => {
      const response = await this.#request(connection, {
        method: "HEAD",
        target: `manifests/${tagOrDigest}`,
        headers: { accept: ACCEPT },
        attempts: 1,
        signal,
      }).catch((error: unknown) => {
        // A registry may dislike HEAD; GET then tells the reason, or works.
        if (toEngineError(error).code === "unavailable") return undefined;
        throw error;
      });
      await response?.discard();
      return response?.status === 200
        ? (response.headers.get("docker-content-digest") ?? undefined)
        : undefined;
    });
  }

  /**
   * A manifest or index, not yet verified.
   * @throws EngineError `not_found`, `unauthenticated` and others in Docker's words; `resource_exhausted` above 4 MiB
   */
  manifest(tagOrDigest: string, signal: AbortSignal): Promise<ManifestAnswer> {
    return this.session.tryEach("resolve", signal, async (connection) => {
      const response = await this.#request(connection, {
        method: "GET",
        target: `manifests/${tagOrDigest}`,
        headers: { accept: ACCEPT },
        signal,
      });
      if (response.status !== 200) throw await this.#refusal(response);
      const bytes = await response.bytes(MANIFEST_LIMIT_BYTES);
      const contentType = (response.headers.get("content-type") ?? "").split(";")[0]?.trim() ?? "";
      return { bytes, contentType, digest: response.headers.get("docker-content-digest") ?? "" };
    });
  }

  /**
   * The content of a blob from an offset on, up to `end` where that is given, not yet verified.
   * @throws EngineError `out_of_range` when the registry holds less than `offset`
   */
  blob(
    digest: string,
    { offset = 0, end }: { offset?: number; end?: number | undefined },
    signal: AbortSignal,
  ): Promise<BlobAnswer> {
    return this.session.tryEach("pull", signal, async (connection) => {
      const response = await this.#request(connection, {
        method: "GET",
        target: `blobs/${digest}`,
        headers: rangeHeader(offset, end),
        signal,
      });
      return (await blobAnswer(response, digest, offset)) ?? Promise.reject(await this.#refusal(response));
    });
  }

  /** The same, from a URL that the manifest names for a layer that registries may not hold: as nobody, without any proof. */
  async foreignBlob(
    { digest, urls = [] }: Descriptor,
    { offset = 0, end }: { offset?: number; end?: number | undefined },
    signal: AbortSignal,
  ): Promise<BlobAnswer> {
    let failure: unknown = new EngineError("not_found", `blob ${digest}: its manifest names no place for it`);
    for (const text of urls) {
      const url = URL.parse(text);
      if (!url || !/^https?:$/.test(url.protocol)) continue;
      try {
        const headers = rangeHeader(offset, end);
        const response = await this.session.fetchForeign({ method: "GET", url, headers, signal });
        const answer = await blobAnswer(response, digest, offset);
        if (answer) return answer;
        await response.discard();
        failure = new EngineError("not_found", `blob ${digest}: ${url.host} answers ${response.status}`);
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  /**
   * Put a manifest or index under a tag or its digest. Its blobs must be there.
   * @returns whether the registry will list it among the referrers of its subject
   */
  putManifest(
    tagOrDigest: string,
    { bytes, mediaType }: { bytes: Buffer<ArrayBuffer>; mediaType: string },
    signal: AbortSignal,
  ): Promise<{ listsReferrers: boolean }> {
    return this.session.tryEach("push", signal, async (connection) => {
      const response = await this.#request(connection, {
        method: "PUT",
        target: `manifests/${tagOrDigest}`,
        headers: { "content-type": mediaType },
        body: bytes,
        actions: ["pull", "push"],
        signal,
      });
      if (response.status !== 201 && response.status !== 200) {
        throw await this.session.refusal(response, this.reference, "push");
      }
      await response.discard();
      return { listsReferrers: response.headers.get("oci-subject") !== null };
    });
  }

  /** Remove a manifest, with all its tags, or one tag where the registry can do that. */
  deleteManifest(tagOrDigest: string, signal: AbortSignal): Promise<void> {
    return this.session.tryEach("push", signal, async (connection) => {
      const response = await this.#request(connection, {
        method: "DELETE",
        target: `manifests/${tagOrDigest}`,
        actions: ["pull", "delete"],
        signal,
      });
      if (response.status === 405) {
        await response.discard();
        throw new EngineError("unimplemented", "the registry does not allow deletion");
      }
      if (response.status !== 202 && response.status !== 200) throw await this.#refusal(response);
      await response.discard();
    });
  }

  /** All tags, page by page. */
  tags(signal: AbortSignal): Promise<string[]> {
    const target = `${this.reference.path}/tags/list?n=${PAGE}`;
    const scopes = [repositoryScope(this.reference.path, "pull")];
    return this.session.tryEach("resolve", signal, (connection) =>
      readPages(this.session, connection, { target, scopes, key: "tags", subject: this.reference, signal }),
    );
  }

  /**
   * What refers to a manifest by its `subject`: by the API, or by the tag that stands in for it.
   * @param artifactType only those of this type
   */
  async referrers(
    digest: string,
    artifactType: string | undefined,
    signal: AbortSignal,
  ): Promise<Referrer[]> {
    const { path } = this.reference;
    const request = {
      target: `${path}/referrers/${digest}`,
      scopes: [repositoryScope(path, "pull")],
      key: "referrers",
      subject: this.reference,
      headers: { accept: OCI_INDEX },
      absent: [404, 405],
      signal,
    };
    const listed = await this.session.tryEach("resolve", signal, async (connection) => {
      const found = await Array.fromAsync(pages(this.session, connection, request), parseReferrers);
      return found.length > 0 ? found.flat() : undefined;
    });
    const all = listed ?? (await this.referrersTag(digest, signal));
    return all.filter((referrer) => artifactType === undefined || referrer.artifactType === artifactType);
  }

  /** The referrers that clients keep under a tag where the registry has no API for them. */
  async referrersTag(digest: string, signal: AbortSignal): Promise<Referrer[]> {
    try {
      const { bytes } = await this.manifest(referrersTagOf(digest), signal);
      return parseReferrers(bytes);
    } catch (error) {
      if (errorCode(error) === "not_found") return [];
      throw error;
    }
  }

  #request(
    connection: Connection,
    {
      actions = ["pull"],
      ...request
    }: Omit<ApiRequest, "scopes"> & { target: string; actions?: Parameters<typeof repositoryScope>[1][] },
  ): Promise<HttpResponse> {
    const { path } = this.reference;
    const target = `${path}/${request.target}`;
    return this.session.request(connection, {
      ...request,
      target,
      scopes: [repositoryScope(path, ...actions)],
    });
  }

  #refusal(response: HttpResponse): Promise<EngineError> {
    return this.session.refusal(response, this.reference);
  }
}

function rangeHeader(offset: number, end: number | undefined): Record<string, string> {
  if (offset === 0 && end === undefined) return {};
  return { range: `bytes=${offset}-${end === undefined ? "" : end - 1}` };
}

/** Undefined for a refusal. */
async function blobAnswer(
  response: HttpResponse,
  digest: string,
  offset: number,
): Promise<BlobAnswer | undefined> {
  const { status, headers, body } = response;
  if (status === 200) return { start: 0, ranges: headers.get("accept-ranges") === "bytes", body };
  if (status === 206 && startOf(response) === offset) return { start: offset, ranges: true, body };
  if (status !== 206 && status !== 416) return undefined;
  await response.discard();
  throw new EngineError("out_of_range", `blob ${digest}: the registry can't go on at byte ${offset}`);
}

function startOf(response: HttpResponse): number | undefined {
  const [, start] = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "") ?? [];
  return start === undefined ? undefined : Number(start);
}
