import { SnapshotCommit, SnapshotPrepare, SnapshotRemove } from "@longshore/api/containerd/events/snapshot";
import {
  type Info,
  Kind,
  type SnapshotsDefinition,
} from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import type { Mount } from "@longshore/api/containerd/types/mount";
import { EngineError } from "@longshore/errors";
import type { Handlers } from "@longshore/rpc";
import type { SnapshotInfo, SnapshotKind, SnapshotMount } from "@longshore/snapshots";
import { scopeOf } from "../metadata/scope.ts";
import type { SnapshotMetadata } from "../metadata/snapshot-metadata.ts";
import { eventMessage, type PluginContext } from "../plugin.ts";
import { timestampOf } from "./timestamps.ts";

const LIST_BATCH = 100;

const KIND: Record<SnapshotKind, Kind> = {
  active: Kind.ACTIVE,
  view: Kind.VIEW,
  committed: Kind.COMMITTED,
};

/** gRPC: snapshots. @param snapshotters by name */
export function snapshotsHandlers(
  snapshotters: ReadonlyMap<string, SnapshotMetadata>,
  publish: PluginContext["publish"],
): Handlers<typeof SnapshotsDefinition> {
  const find = (name: string): SnapshotMetadata => {
    if (name === "")
      throw new EngineError("invalid_argument", "snapshotter argument missing: invalid argument");
    const found = snapshotters.get(name);
    if (found) return found;
    throw new EngineError("invalid_argument", `snapshotter not loaded: ${name}: invalid argument`);
  };

  return {
    async prepare(request, context) {
      const scope = scopeOf(context);
      const { snapshotter, key, parent } = request;
      const mounts = await find(snapshotter).prepare(scope, request);
      const event = eventMessage("SnapshotPrepare", SnapshotPrepare, { key, parent, snapshotter });
      publish(scope.namespace, "/snapshot/prepare", event);
      return { mounts: mounts.map(mountMessage) };
    },
    async view(request, context) {
      const mounts = await find(request.snapshotter).view(scopeOf(context), request);
      return { mounts: mounts.map(mountMessage) };
    },
    async mounts({ snapshotter, key }, context) {
      return { mounts: (await find(snapshotter).mounts(scopeOf(context), key)).map(mountMessage) };
    },
    async commit(request, context) {
      const scope = scopeOf(context);
      const { snapshotter, name, key } = request;
      await find(snapshotter).commit(scope, request);
      const event = eventMessage("SnapshotCommit", SnapshotCommit, { key, name, snapshotter });
      publish(scope.namespace, "/snapshot/commit", event);
      return {};
    },
    async remove({ snapshotter, key }, context) {
      const scope = scopeOf(context);
      await find(snapshotter).remove(scope, key);
      const event = eventMessage("SnapshotRemove", SnapshotRemove, { key, snapshotter });
      publish(scope.namespace, "/snapshot/remove", event);
      return {};
    },
    async stat({ snapshotter, key }, context) {
      return { info: infoMessage(await find(snapshotter).stat(scopeOf(context), key)) };
    },
    async update({ snapshotter, info, updateMask }, context) {
      if (!info?.name) throw new EngineError("invalid_argument", "no snapshot named: invalid argument");
      const { name, labels } = info;
      const updated = await find(snapshotter).update(scopeOf(context), name, labels, updateMask ?? []);
      return { info: infoMessage(updated) };
    },
    async *list({ snapshotter, filters }, context) {
      const all = await find(snapshotter).list(scopeOf(context), filters);
      for (let i = 0; i < all.length; i += LIST_BATCH) {
        yield { info: all.slice(i, i + LIST_BATCH).map(infoMessage) };
      }
    },
    async usage({ snapshotter, key }, context) {
      const { sizeBytes, inodes } = await find(snapshotter).usage(scopeOf(context), key);
      return { size: BigInt(sizeBytes), inodes: BigInt(inodes) };
    },
    async cleanup({ snapshotter }, context) {
      scopeOf(context);
      await find(snapshotter).snapshotter.cleanup();
      return {};
    },
  };
}

function mountMessage({ type, source, options }: SnapshotMount): Mount {
  return { type, source, target: "", options: [...options] };
}

function infoMessage({ name, parent, kind, createdAt, updatedAt, labels }: SnapshotInfo): Info {
  return {
    name,
    parent,
    kind: KIND[kind],
    createdAt: timestampOf(createdAt),
    updatedAt: timestampOf(updatedAt),
    labels,
  };
}
