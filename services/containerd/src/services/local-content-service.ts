import { ContentCreate } from "@longshore/api/containerd/events/content";
import type {
  Commit,
  LocalContentDefinition,
  LocalWriteResponse,
  Open,
} from "@longshore/api/longshore/content/v1/content";
import { type Digest, parseDigest } from "@longshore/digest";
import { EngineError } from "@longshore/errors";
import type { Handlers } from "@longshore/rpc";
import type { ContentMetadata } from "../metadata/content-metadata.ts";
import type { NamespacedWriter } from "../metadata/content-writer.ts";
import { type Scope, scopeOf } from "../metadata/scope.ts";
import { eventMessage, type PluginContext } from "../plugin.ts";

/**
 * gRPC: blobs whose files the client writes by itself.
 *
 * @param onWrite called when somebody begins to write: a layer may have to be unpacked soon
 */
export function localContentHandlers(
  content: ContentMetadata,
  publish: PluginContext["publish"],
  onWrite: () => void,
): Handlers<typeof LocalContentDefinition> {
  return {
    async *write(requests, context) {
      const scope = scopeOf(context);
      onWrite();
      let writer: NamespacedWriter | undefined;
      try {
        for await (const { step } of requests) {
          if (step?.$case === "open" && !writer) {
            writer = await open(content, scope, step.value);
            yield whereOf(writer);
          } else if (step?.$case === "commit" && writer) {
            const created = await commit(writer, step.value);
            const event = { ...created, size: BigInt(created.size), mediaType: "" };
            publish(scope.namespace, "/content/create", eventMessage("ContentCreate", ContentCreate, event));
            yield { path: "", inode: 0n, offset: BigInt(created.size), digest: created.digest };
            return;
          } else {
            throw new EngineError("invalid_argument", "a write is opened first, and then committed");
          }
        }
      } finally {
        await writer?.close();
      }
    },
  };
}

function open(content: ContentMetadata, scope: Scope, request: Open): Promise<NamespacedWriter> {
  const { ref, total } = request;
  if (ref === "") throw new EngineError("invalid_argument", "first message must have a reference");
  const expected = digestOf(request);
  return content.writer(scope, { ref, total: Number(total), ...(expected && { expected }) });
}

async function commit(writer: NamespacedWriter, request: Commit): Promise<{ digest: Digest; size: number }> {
  await writer.readFile();
  return writer.commit(Number(request.total), digestOf(request), request.labels);
}

function whereOf(writer: NamespacedWriter): LocalWriteResponse {
  const { path = "", inode = 0n } = writer.file() ?? {};
  return { path, inode, offset: BigInt(writer.status().offset), digest: "" };
}

function digestOf({ expected }: { expected: string }): Digest | undefined {
  return expected === "" ? undefined : parseDigest(expected);
}
