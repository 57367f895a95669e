import path from "node:path";
import type { Logger } from "@longshore/log";
import type { Networks } from "@longshore/network";
import type { Collection, Store } from "@longshore/store";
import type { Authorizer } from "./authz/authorizer.ts";
import type { Settings } from "./config/settings.ts";
import type { ContainerdClient } from "./containerd/client.ts";
import type { ContainerRecord } from "./containers/container.ts";
import type { ContainerIndex } from "./containers/container-index.ts";
import type { EngineEvents } from "./events/engine-events.ts";
import type { EventBridge } from "./events/event-bridge.ts";
import type { ExecIndex } from "./execs/exec-index.ts";
import type { ImageStore } from "./images/image-store.ts";
import type { PullService } from "./images/pull.ts";
import type { RegistryService } from "./images/registry-service.ts";
import type { Unpacker } from "./images/unpack.ts";
import type { EngineMetrics } from "./metrics/engine-metrics.ts";
import type { StallWatch } from "./stalls/stall-watch.ts";
import type { Fleet } from "./state/fleet.ts";
import type { PruneGuard } from "./system/prune-guard.ts";
import type { UserNamespaces } from "./userns/user-namespaces.ts";
import type { Volumes } from "./volumes/volumes.ts";

/** What the operations of the API work on: one per daemon. */
export interface Engine {
  /** Some change when the configuration file is reloaded. */
  flags: Settings;
  log: Logger;
  /** Random, kept in the data root. */
  id: string;
  containerd: ContainerdClient;
  store: Store;
  /** All engines that share the store; undefined when it is this one's own. */
  fleet: Fleet | undefined;
  records: Collection<ContainerRecord>;
  containers: ContainerIndex;
  execs: ExecIndex;
  /** Exits that are being taken in: their containers' tasks, and with `--rm` all of them, are being taken apart. */
  exits: Set<Promise<void>>;
  prunes: PruneGuard;
  images: ImageStore;
  unpacker: Unpacker;
  pulls: PullService;
  registry: RegistryService;
  networks: Networks;
  volumes: Volumes;
  events: EngineEvents;
  /** Undefined without NATS. */
  bridge: EventBridge | undefined;
  /** Runtimes whose shim was found not to know the `longshore://` scheme. */
  fifoRuntimes: Set<string>;
  /** Undefined: containers' ids are the host's. */
  userns: UserNamespaces | undefined;
  metrics: EngineMetrics;
  stalls: StallWatch;
  authorizer: Authorizer;
  startedAt: Date;
  /** Aborted when the daemon ends: what waits gives up. */
  signal: AbortSignal;
}

/** The directory with a container's logs and /etc files. */
export function containerDir(engine: Engine, id: string): string {
  return path.join(engine.flags.dataRoot, "containers", id);
}

/** The directory with the stdio sockets or FIFOs of a container's processes. */
export function ioDir(engine: Engine, id: string): string {
  return path.join(engine.flags.execRoot, "io", id);
}
