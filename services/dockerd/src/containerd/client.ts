import { ContainersDefinition } from "@longshore/api/containerd/services/containers/v1/containers";
import { ContentDefinition } from "@longshore/api/containerd/services/content/v1/content";
import { DiffDefinition } from "@longshore/api/containerd/services/diff/v1/diff";
import { EventsDefinition } from "@longshore/api/containerd/services/events/v1/events";
import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { IntrospectionDefinition } from "@longshore/api/containerd/services/introspection/v1/introspection";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { NamespacesDefinition } from "@longshore/api/containerd/services/namespaces/v1/namespace";
import { SnapshotsDefinition } from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import { TasksDefinition } from "@longshore/api/containerd/services/tasks/v1/tasks";
import { VersionDefinition } from "@longshore/api/containerd/services/version/v1/version";
import { ProgressDiffDefinition } from "@longshore/api/longshore/diff/v1/diff";
import { type ClientOf, channelTo, createClient } from "@longshore/rpc";

/** The only snapshotter in use. */
export const SNAPSHOTTER = "overlayfs";

/** containerd's services in one namespace, over one connection that stays open. */
export interface ContainerdClient extends Disposable {
  readonly namespace: string;
  readonly socketPath: string;
  /** Of the engine that it belongs to. */
  readonly engineId: string;
  readonly containers: ClientOf<typeof ContainersDefinition>;
  readonly content: ClientOf<typeof ContentDefinition>;
  readonly diff: ClientOf<typeof DiffDefinition>;
  /** Only our own containerd has it. */
  readonly progressDiff: ClientOf<typeof ProgressDiffDefinition>;
  readonly events: ClientOf<typeof EventsDefinition>;
  readonly images: ClientOf<typeof ImagesDefinition>;
  readonly introspection: ClientOf<typeof IntrospectionDefinition>;
  readonly leases: ClientOf<typeof LeasesDefinition>;
  readonly namespaces: ClientOf<typeof NamespacesDefinition>;
  readonly snapshots: ClientOf<typeof SnapshotsDefinition>;
  readonly tasks: ClientOf<typeof TasksDefinition>;
  readonly version: ClientOf<typeof VersionDefinition>;
}

export function connectContainerd(socketPath: string, namespace: string, engineId: string): ContainerdClient {
  const channel = channelTo(socketPath);
  const defaults = { metadata: { "containerd-namespace": namespace } };
  return {
    namespace,
    socketPath,
    engineId,
    containers: createClient(channel, ContainersDefinition, defaults),
    content: createClient(channel, ContentDefinition, defaults),
    diff: createClient(channel, DiffDefinition, { ...defaults, timeoutMs: 30 * 60_000 }),
    progressDiff: createClient(channel, ProgressDiffDefinition, { ...defaults, timeoutMs: 30 * 60_000 }),
    events: createClient(channel, EventsDefinition, defaults),
    images: createClient(channel, ImagesDefinition, defaults),
    introspection: createClient(channel, IntrospectionDefinition, defaults),
    leases: createClient(channel, LeasesDefinition, defaults),
    namespaces: createClient(channel, NamespacesDefinition, defaults),
    snapshots: createClient(channel, SnapshotsDefinition, defaults),
    tasks: createClient(channel, TasksDefinition, defaults),
    version: createClient(channel, VersionDefinition, defaults),
    [Symbol.dispose]: () => channel.close(),
  };
}
