import { ContentCreate, ContentDelete } from "@longshore/api/containerd/events/content";
import {
  type ContentDefinition,
  type Info,
  type Status,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from "@longshore/api/containerd/services/content/v1/content";
import { type Digest, isDigest, parseDigest } from "@longshore/digest";
import { EngineError } from "@longshore/errors";
import type { Handlers } from "@longshore/rpc";
import type { ContentInfo, ContentMetadata, IngestInfo } from "../metadata/content-metadata.ts";
import type { NamespacedWriter } from "../metadata/content-writer.ts";
import { type Scope, scopeOf } from "../metadata/scope.ts";
import { eventMessage, type PluginContext } from "../plugin.ts";
import { fromRfc3339 } from "../timestamp.ts";
import { timestampOf } from "./timestamps.ts";

const LIST_BATCH = 100;

/**
 * gRPC: blobs. The exchange of `Write` is containerd's, `contentserver.go`.
 *
 * @param onWrite called when somebody begins to write: a layer may have to be unpacked soon
 */
export function contentHandlers(
  content: ContentMetadata,
  publish: PluginContext["publish"],
  onWrite: () => void,
): Handlers<typeof ContentDefinition> {
  return {
    async info({ digest }, context) {
      return { info: infoMessage(await content.info(scopeOf(context), validDigest(digest))) };
    },
    async update({ info, updateMask }, context) {
      const digest = validDigest(info?.digest ?? "");
      const updated = await content.update(scopeOf(context), digest, info?.labels ?? {}, updateMask ?? []);
      return { info: infoMessage(updated) };
    },
    async *list({ filters }, context) {
      const all = await content.list(scopeOf(context), filters);
      for (let i = 0; i < all.length; i += LIST_BATCH) {
        yield { info: all.slice(i, i + LIST_BATCH).map(infoMessage) };
      }
    },
    async delete({ digest }, context) {
      const scope = scopeOf(context);
      await content.delete(scope, validDigest(digest));
      publish(scope.namespace, "/content/delete", eventMessage("ContentDelete", ContentDelete, { digest }));
      return {};
    },
    async *read({ digest, offset, size }, context) {
      const scope = scopeOf(context);
      const { size: total } = await content.info(scope, validDigest(digest));
      const start = offset > 0n ? Number(offset) : 0;
      if (start > total) throw new EngineError("out_of_range", `read past object length ${total} bytes`);
      const length = size > 0n ? Math.min(Number(size), total - start) : total - start;
      // Offsets in the answers count from the start of the range, as the original's do.
      let done = 0n;
      for await (const data of content.read(scope, validDigest(digest), { offset: start, length })) {
        yield { offset: done, data };
        done += BigInt(data.length);
      }
    },
    async status({ ref }, context) {
      return { status: statusMessage(await content.status(scopeOf(context), ref)) };
    },
    async listStatuses({ filters }, context) {
      return { statuses: (await content.statuses(scopeOf(context), filters)).map(statusMessage) };
    },
    async *write(requests, context) {
      const scope = scopeOf(context);
      onWrite();
      const session = new WriteSession(content, scope, (created) => {
        const event = eventMessage("ContentCreate", ContentCreate, { ...created, mediaType: "" });
        publish(scope.namespace, "/content/create", event);
      });
      try {
        for await (const request of requests) {
          yield await session.handle(request);
          if (request.action === WriteAction.COMMIT) return;
        }
      } finally {
        await session.close();
      }
    },
    async abort({ ref }, context) {
      await content.abort(scopeOf(context), ref);
      return {};
    },
  };
}

/** One call of Write: the first request opens the ingest, COMMIT ends it, breaking off leaves it for later. */
class WriteSession {
  private readonly content: ContentMetadata;
  private readonly scope: Scope;
  private readonly onCreated: (created: { digest: string; size: bigint }) => void;
  private writer: NamespacedWriter | undefined;
  private ref = "";
  private total = 0;
  private expected: Digest | undefined;

  constructor(content: ContentMetadata, scope: Scope, onCreated: WriteSession["onCreated"]) {
    this.content = content;
    this.scope = scope;
    this.onCreated = onCreated;
  }

  async handle(request: WriteContentRequest): Promise<WriteContentResponse> {
    const writer = await this.open(request);
    await this.expect(request, writer);
    const { offset, startedAt, updatedAt } = writer.status();
    const answer: WriteContentResponse = {
      action: request.action,
      startedAt: timestampOf(startedAt),
      updatedAt: timestampOf(updatedAt),
      offset: BigInt(offset),
      total: 0n,
      digest: "",
    };
    if (request.action === WriteAction.STAT) {
      return { ...answer, total: BigInt(this.total), digest: writer.digest() };
    }
    if (request.offset > 0n && request.offset !== answer.offset) {
      const where = `write @${request.offset} must occur at current offset ${answer.offset}`;
      throw new EngineError("out_of_range", where);
    }
    if (request.offset === 0n && offset > 0 && request.data.length > 0) await writer.truncate();
    if (request.data.length > 0) await writer.write(request.data);
    answer.offset = BigInt(writer.status().offset);
    if (request.action === WriteAction.COMMIT) {
      const { digest, size } = await writer.commit(this.total, this.expected, request.labels);
      this.onCreated({ digest, size: BigInt(size) });
      return { ...answer, digest };
    }
    return { ...answer, digest: writer.digest() };
  }

  async close(): Promise<void> {
    await this.writer?.close();
  }

  private async open(request: WriteContentRequest): Promise<NamespacedWriter> {
    if (this.writer) return this.writer;
    const { ref } = request;
    if (ref === "") throw new EngineError("invalid_argument", "first message must have a reference");
    this.ref = ref;
    this.total = Number(request.total);
    this.expected = expectedOf(request);
    const expected = this.expected === undefined ? {} : { expected: this.expected };
    this.writer = await this.content.writer(this.scope, { ref, total: this.total, ...expected });
    return this.writer;
  }

  /** Take over what later messages say about size and digest; a blob that appeared meanwhile ends the ingest. */
  private async expect(request: WriteContentRequest, writer: NamespacedWriter): Promise<void> {
    const expected = expectedOf(request);
    if (expected !== undefined) {
      this.expected = expected;
      if (await this.content.has(this.scope, expected)) {
        await writer.close();
        await this.content.abort(this.scope, this.ref);
        throw new EngineError("already_exists", `blob with expected digest ${expected} exists`);
      }
    }
    if (request.total > 0n) this.total = Number(request.total);
  }
}

function expectedOf({ expected }: WriteContentRequest): Digest | undefined {
  return expected === "" ? undefined : parseDigest(expected);
}

function validDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new EngineError("invalid_argument", `${JSON.stringify(text)} failed validation`);
}

function infoMessage({ digest, size, createdAt, updatedAt, labels }: ContentInfo): Info {
  return {
    digest,
    size: BigInt(size),
    createdAt: fromRfc3339(createdAt),
    updatedAt: fromRfc3339(updatedAt),
    labels,
  };
}

function statusMessage({ ref, offset, total, startedAt, updatedAt }: IngestInfo): Status {
  return {
    ref,
    offset: BigInt(offset),
    total: BigInt(total),
    startedAt: timestampOf(startedAt),
    updatedAt: timestampOf(updatedAt),
    expected: "",
  };
}
