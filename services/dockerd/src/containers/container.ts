import type { Mount } from "@longshore/api/containerd/types/mount";
import type { Endpoint, PortBinding } from "@longshore/network";
import type { Process } from "@longshore/oci";
import type { Health } from "../health/health.ts";
import type { ContainerLink } from "../links/link.ts";
import type { NetworkRequest } from "../networks/network-request.ts";
import type { ProcessStdio } from "../streams/process-stdio.ts";
import type { MountPoint } from "../volumes/mount-point.ts";
import type { BackOff } from "./back-off.ts";
import type { ContainerConfig, HostConfig } from "./container-config.ts";
import type { ContainerStatus } from "./container-status.ts";
import type { TaskExit } from "./exit-container.ts";
import { Mutex } from "./mutex.ts";

/** Docker's "never" in time stamps. */
export const ZERO_TIME = "0001-01-01T00:00:00Z";

/** A descriptor as the API shows it, with the platform that its image is for. */
export interface ImageManifest {
  mediaType: string;
  digest: string;
  size: number;
  platform: { architecture: string; os: string; variant?: string };
}

export interface ContainerState {
  status: ContainerStatus;
  /** Process id on the host; 0 when nothing runs. */
  pid: number;
  exitCode: number;
  /** Why the last start failed; empty when it did not. */
  error: string;
  oomKilled: boolean;
  startedAt: string;
  finishedAt: string;
  /** Only of a container with a health check. */
  health?: Health | undefined;
}

/** Limits of a container's processes, in which the daemon's defaults of the time of its start are. */
export type ProcessBounds = Pick<Process, "rlimits" | "noNewPrivileges">;

/** A container as it is stored. */
export interface ContainerRecord {
  id: string;
  /** Without the slash. */
  name: string;
  created: string;
  /** Image id: digest of the image's config. */
  imageId: string;
  /** Digest of the manifest that the container was made from. */
  manifestDigest: string;
  /** That manifest; missing in records of old. */
  imageManifest?: ImageManifest;
  /** As the client sent it, merged with the image's defaults. */
  config: ContainerConfig;
  hostConfig: HostConfig;
  /** Those that it is to be on, `eth0`'s first. */
  networks: NetworkRequest[];
  /** Its mode is `none`, but it was taken off that network. */
  isOffNone?: boolean;
  /** What is mounted in it for its user. */
  mounts: MountPoint[];
  /** The first word of the command, and the rest. */
  path: string;
  args: string[];
  runtime: string;
  state: ContainerState;
  /** How stdio of the running task is reached. */
  stdio: "longshore" | "fifo" | "";
  sandboxId: string;
  /** Where it is on its networks while it runs. */
  endpoints: Endpoint[];
  /** What of it is published while it runs. */
  ports: PortBinding[];
  /** Other containers that it knows by names of its own. */
  links?: ContainerLink[];
  /** What bounds its processes, as it was last started: its execs get the same. Missing in records of old. */
  bounds?: ProcessBounds;
  /** How often its restart policy has started it since somebody did. */
  restartCount?: number;
  /** Somebody asked for the end of its last process. */
  manuallyStopped?: boolean;
}

/** A process's exit, as told to those who wait. */
export interface ExitStatus {
  exitCode: number;
  /** Why the container could not be removed, though that was asked for. */
  error?: string;
}

/** A container in memory: its record, and what lives only as long as this daemon. */
export class Container {
  record: ContainerRecord;
  /** Serializes what changes the container; reading its record needs no lock. */
  readonly lock = new Mutex();
  /** Root filesystem mounts of its snapshot, once asked for. */
  rootfs: Mount[] | undefined;
  stdio: ProcessStdio | undefined;
  /** Ids of its execs that have not ended. */
  readonly execs = new Set<string>();
  /** Streams that wait for the start: each is called with the stdio before the process runs, or with undefined when it won't. */
  readonly startWaiters = new Set<(stdio: ProcessStdio | undefined) => Promise<void> | void>();
  readonly exitWaiters = new Set<(exit: ExitStatus) => void>();
  readonly removeWaiters = new Set<(exit: ExitStatus) => void>();
  /** The last end that was told of a process of it. */
  lastExit: TaskExit | undefined;
  /** A task may be left that should have been deleted: containerd was away. */
  mayHaveTask = false;
  /** A stop was asked for: the exit that follows is wanted. */
  stopRequested = false;
  /** Aborted to end the looking at its health. */
  healthMonitor: AbortController | undefined;
  /** Its process is being ended because it is unhealthy. */
  replacing = false;
  /** The wait before its next restart, or the last one's. */
  backOff: BackOff | undefined;

  constructor(record: ContainerRecord) {
    this.record = record;
  }

  get id(): string {
    return this.record.id;
  }

  get shortId(): string {
    return this.record.id.slice(0, 12);
  }

  get exit(): ExitStatus {
    return { exitCode: this.record.state.exitCode };
  }

  tellExit(): void {
    tell(this.exitWaiters, this.exit);
  }

  tellRemoved(): void {
    tell(this.removeWaiters, this.exit);
  }

  tellNotRemoved(error: string): void {
    tell(this.removeWaiters, { ...this.exit, error });
  }
}

function tell(waiters: Set<(exit: ExitStatus) => void>, exit: ExitStatus): void {
  const called = [...waiters];
  waiters.clear();
  for (const waiter of called) waiter(exit);
}
