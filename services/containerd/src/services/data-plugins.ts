import path from "node:path";
import { ImageDelete } from "@longshore/api/containerd/events/image";
import { SnapshotRemove } from "@longshore/api/containerd/events/snapshot";
import { ContentDefinition } from "@longshore/api/containerd/services/content/v1/content";
import { DiffDefinition } from "@longshore/api/containerd/services/diff/v1/diff";
import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { SnapshotsDefinition } from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import { LocalContentDefinition } from "@longshore/api/longshore/content/v1/content";
import { ProgressDiffDefinition } from "@longshore/api/longshore/diff/v1/diff";
import { ContentStore } from "@longshore/content";
import {
  NativeSnapshotter,
  OverlaySnapshotter,
  type Snapshotter,
  type SnapshotterOptions,
} from "@longshore/snapshots";
import type { Config } from "../config.ts";
import { ContentMetadata } from "../metadata/content-metadata.ts";
import { Database } from "../metadata/database.ts";
import { GarbageCollector } from "../metadata/garbage-collector.ts";
import { ImageMetadata } from "../metadata/image-metadata.ts";
import { LeaseMetadata } from "../metadata/lease-metadata.ts";
import { SnapshotMetadata } from "../metadata/snapshot-metadata.ts";
import { type ContainerdPlugin, eventMessage, type PluginContext } from "../plugin.ts";
import { contentHandlers } from "./content-service.ts";
import { DiffProcesses } from "./diff-process.ts";
import { diffHandlers, progressDiffHandlers } from "./diff-service.ts";
import { imageEvent } from "./image-event.ts";
import { imagesHandlers } from "./images-service.ts";
import { leasesHandlers } from "./leases-service.ts";
import { localContentHandlers } from "./local-content-service.ts";
import { snapshotsHandlers } from "./snapshots-service.ts";

/** What the plugins below make for one another; the order of their start sees to it that it is there. */
interface Shared {
  contentStore?: ContentStore;
  database?: Database;
  content?: ContentMetadata;
  collector?: GarbageCollector;
  packers?: DiffProcesses;
  unpackers?: DiffProcesses;
  readonly snapshotters: Map<string, Snapshotter>;
}

const CONTENT = { type: "io.containerd.content.v1", id: "content" } as const;
const OVERLAYFS = { type: "io.containerd.snapshotter.v1", id: "overlayfs" } as const;
const NATIVE = { type: "io.containerd.snapshotter.v1", id: "native" } as const;
const METADATA = { type: "io.containerd.metadata.v1", id: "bolt" } as const;
const GC = { type: "io.containerd.gc.v1", id: "scheduler" } as const;
const DIFFER = { type: "io.containerd.differ.v1", id: "walking" } as const;
const GRPC = "io.containerd.grpc.v1";

/**
 * Capability of a snapshotter: a layer may be unpacked before those below it, into the `upperdir` of an overlay mount without
 * `lowerdir`, and be committed with its parent's name. `Apply` refuses, by `failed_precondition`, a layer that needs those below it.
 */
const UNPACK_APART = "unpack-apart";

const MORE_REQUIREMENTS: Readonly<Record<string, readonly string[]>> = {
  content: [CONTENT.type],
  snapshots: [OVERLAYFS.type],
  diff: [CONTENT.type, DIFFER.type],
  images: [GC.type],
  leases: [GC.type],
};

const directoryOf = ({ root }: PluginContext, { type, id }: { type: string; id: string }) =>
  path.join(root, `${type}.${id}`);

/** Content, images, snapshots, diffs and leases. Types and ids are containerd's, `bolt` included, so that its configuration fits. */
export function dataPlugins({
  gc,
  snapshotterRoots,
  layerLimits,
  confineUnpack,
}: Pick<Config, "gc" | "snapshotterRoots" | "layerLimits" | "confineUnpack">): ContainerdPlugin[] {
  const shared: Shared = { snapshotters: new Map() };
  return [
    {
      ...CONTENT,
      requires: [],
      exports: (context) => ({ root: directoryOf(context, CONTENT) }),
      async start(context) {
        shared.contentStore = new ContentStore(directoryOf(context, CONTENT));
        return undefined;
      },
    },
    {
      ...snapshotterPlugin(OVERLAYFS, snapshotterRoots, shared, (options) =>
        OverlaySnapshotter.open(options),
      ),
      capabilities: [UNPACK_APART],
    },
    snapshotterPlugin(NATIVE, snapshotterRoots, shared, (options) => NativeSnapshotter.open(options)),
    {
      ...METADATA,
      // Where there is no content, there are still leases, snapshots and images' names.
      requires: [],
      exports: () => ({ policy: "shared" }),
      async start({ store }) {
        shared.database = new Database(store);
        if (shared.contentStore) shared.content = new ContentMetadata(shared.database, shared.contentStore);
        return undefined;
      },
    },
    {
      ...GC,
      requires: [METADATA.type],
      async start({ log, publish, listen }) {
        const collector = new GarbageCollector({
          database: need(shared.database),
          backend: shared.contentStore,
          snapshotters: shared.snapshotters,
          schedule: gc,
          log,
          onImageDeleted: (namespace, name) =>
            publish(namespace, "/images/delete", imageEvent("ImageDelete", ImageDelete, { name })),
          onSnapshotRemoved: (namespace, snapshotter, key) => {
            const event = eventMessage("SnapshotRemove", SnapshotRemove, { key, snapshotter });
            publish(namespace, "/snapshot/remove", event);
          },
        });
        shared.collector = collector;
        const running = new AsyncDisposableStack();
        running.use(collector);
        // What a container refers to may go when it does.
        running.use(listen(({ topic }) => topic === "/containers/delete" && collector.schedule()));
        return running;
      },
    },
    {
      ...DIFFER,
      requires: [METADATA.type],
      platformBound: true,
      async start({ log }) {
        const running = new AsyncDisposableStack();
        shared.packers = running.use(new DiffProcesses(log, ["diff-worker"]));
        if (!confineUnpack) log.warn("layers are unpacked with all rights: confine_unpack is false");
        shared.unpackers = running.use(
          new DiffProcesses(log, confineUnpack ? ["unpack-worker"] : ["unpack-worker", "--unconfined"]),
        );
        return running;
      },
    },
    grpcPlugin("content", ({ server, publish }) => {
      const warm = () => shared.unpackers?.warm();
      server.add(ContentDefinition, contentHandlers(need(shared.content), publish, warm));
      server.add(LocalContentDefinition, localContentHandlers(need(shared.content), publish, warm));
    }),
    grpcPlugin("diff", ({ server }) => {
      const deps = {
        content: need(shared.content),
        packers: need(shared.packers),
        unpackers: need(shared.unpackers),
        limits: layerLimits,
      };
      server.add(DiffDefinition, diffHandlers(deps));
      server.add(ProgressDiffDefinition, progressDiffHandlers(deps));
    }),
    grpcPlugin("images", ({ server, publish }) => {
      const images = new ImageMetadata(need(shared.database));
      server.add(
        ImagesDefinition,
        imagesHandlers(images, () => need(shared.collector).collect(), publish),
      );
    }),
    grpcPlugin("leases", ({ server }) => {
      const leases = new LeaseMetadata(need(shared.database));
      server.add(
        LeasesDefinition,
        leasesHandlers(leases, () => need(shared.collector).collect()),
      );
    }),
    grpcPlugin("snapshots", ({ server, publish }) => {
      const database = need(shared.database);
      const byName = [...shared.snapshotters].map(([name, snapshotter]) => {
        return [name, new SnapshotMetadata(database, snapshotter)] as const;
      });
      server.add(SnapshotsDefinition, snapshotsHandlers(new Map(byName), publish));
    }),
  ];
}

function snapshotterPlugin(
  plugin: { readonly type: string; readonly id: string },
  roots: Config["snapshotterRoots"],
  shared: Shared,
  open: (options: SnapshotterOptions) => Promise<Snapshotter>,
): ContainerdPlugin {
  const rootIn = (context: PluginContext) => roots[plugin.id] ?? directoryOf(context, plugin);
  return {
    ...plugin,
    requires: [],
    platformBound: true,
    exports: (context) => ({ root: rootIn(context) }),
    async start(context) {
      const snapshotter = await open({ root: rootIn(context), store: context.store });
      shared.snapshotters.set(snapshotter.name, snapshotter);
      // What a crash left behind; nobody needs to wait for it.
      void snapshotter.cleanup();
      return snapshotter;
    },
  };
}

function grpcPlugin(id: string, add: (context: PluginContext) => void): ContainerdPlugin {
  return {
    type: GRPC,
    id,
    requires: [METADATA.type, ...(MORE_REQUIREMENTS[id] ?? [])],
    async start(context) {
      add(context);
      return undefined;
    },
  };
}

function need<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a plugin that this one requires has not started");
  return value;
}
