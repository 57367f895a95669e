import { config, graphDriver } from "./common.ts";
import {
  extended,
  field,
  goList,
  goMap,
  list,
  map,
  nullable,
  object,
  optional,
  pair,
  type Shape,
  words,
} from "./shape.ts";

const states = words("created", "running", "paused", "restarting", "removing", "exited", "dead");

const endpoint = object({
  IPAMConfig: nullable(
    object({
      IPv4Address: optional("string"),
      IPv6Address: optional("string"),
      LinkLocalIPs: optional(list("string")),
    }),
  ),
  Links: goList("string"),
  Aliases: goList("string"),
  NetworkID: "string",
  EndpointID: "string",
  Gateway: "string",
  IPAddress: "string",
  IPPrefixLen: "integer",
  IPv6Gateway: "string",
  GlobalIPv6Address: "string",
  GlobalIPv6PrefixLen: "integer",
  MacAddress: "string",
  DriverOpts: goMap("string"),
  DNSNames: field(goList("string"), { engineSince: "1.44" }),
  GwPriority: field("integer", { engineSince: "1.48" }),
});

const mountPoint = object({
  Type: words("bind", "volume", "tmpfs", "image"),
  Name: optional("string"),
  Source: "string",
  Destination: "string",
  Driver: optional("string"),
  Mode: "string",
  RW: "boolean",
  Propagation: "string",
});

const mountRequest = object({
  Type: words("bind", "volume", "tmpfs", "image"),
  Source: optional("string"),
  Target: optional("string"),
  ReadOnly: optional("boolean"),
  Consistency: optional("string"),
  BindOptions: optional(
    object({
      Propagation: optional("string"),
      NonRecursive: optional("boolean"),
      CreateMountpoint: optional("boolean"),
      ReadOnlyNonRecursive: optional("boolean"),
      ReadOnlyForceRecursive: optional("boolean"),
    }),
  ),
  VolumeOptions: optional(
    object({
      NoCopy: optional("boolean"),
      Labels: optional(goMap("string")),
      Subpath: optional("string"),
      DriverConfig: optional(object({ Name: optional("string"), Options: optional(goMap("string")) })),
    }),
  ),
  TmpfsOptions: optional(
    object({
      SizeBytes: optional("integer"),
      Mode: optional("integer"),
      Options: optional(list(list("string"))),
    }),
  ),
  ImageOptions: optional(object({ Subpath: optional("string") })),
});

const throttles = goList(object({ Path: "string", Rate: "integer" }));

/** Limits: of a container, and what `POST /containers/{id}/update` changes. */
const resources: Readonly<Record<string, Shape | ReturnType<typeof optional>>> = {
  CpuShares: "integer",
  Memory: "integer",
  NanoCpus: "integer",
  CgroupParent: "string",
  BlkioWeight: "integer",
  BlkioWeightDevice: goList(object({ Path: "string", Weight: "integer" })),
  BlkioDeviceReadBps: throttles,
  BlkioDeviceWriteBps: throttles,
  BlkioDeviceReadIOps: throttles,
  BlkioDeviceWriteIOps: throttles,
  CpuPeriod: "integer",
  CpuQuota: "integer",
  CpuRealtimePeriod: "integer",
  CpuRealtimeRuntime: "integer",
  CpusetCpus: "string",
  CpusetMems: "string",
  Devices: goList(object({ PathOnHost: "string", PathInContainer: "string", CgroupPermissions: "string" })),
  DeviceCgroupRules: goList("string"),
  DeviceRequests: goList(
    object({
      Driver: "string",
      Count: "integer",
      DeviceIDs: goList("string"),
      Capabilities: goList(list("string")),
      Options: goMap("string"),
    }),
  ),
  KernelMemory: field("integer", { engineBefore: "1.42" }),
  KernelMemoryTCP: field("integer", { engineBefore: "1.42" }),
  MemoryReservation: "integer",
  MemorySwap: "integer",
  MemorySwappiness: nullable("integer"),
  OomKillDisable: nullable("boolean"),
  PidsLimit: nullable("integer"),
  Ulimits: goList(object({ Name: "string", Hard: "integer", Soft: "integer" })),
  CpuCount: "integer",
  CpuPercent: "integer",
  IOMaximumIOps: "integer",
  IOMaximumBandwidth: "integer",
};

const portBindings = map(nullable(list(object({ HostIp: "string", HostPort: "string" }))));

const hostConfig = object({
  ...resources,
  Binds: goList("string"),
  ContainerIDFile: "string",
  LogConfig: object({ Type: "string", Config: goMap("string") }),
  NetworkMode: "string",
  PortBindings: nullable(portBindings),
  RestartPolicy: object({
    Name: words("", "no", "always", "unless-stopped", "on-failure"),
    MaximumRetryCount: "integer",
  }),
  AutoRemove: "boolean",
  VolumeDriver: "string",
  VolumesFrom: goList("string"),
  Mounts: optional(list(mountRequest)),
  ConsoleSize: pair("integer", "integer"),
  Annotations: field(map("string"), { optional: true, engineSince: "1.43" }),
  CapAdd: goList("string"),
  CapDrop: goList("string"),
  CgroupnsMode: words("", "host", "private"),
  Dns: goList("string"),
  DnsOptions: goList("string"),
  DnsSearch: goList("string"),
  ExtraHosts: goList("string"),
  GroupAdd: goList("string"),
  IpcMode: "string",
  Cgroup: "string",
  Links: goList("string"),
  OomScoreAdj: "integer",
  PidMode: "string",
  Privileged: "boolean",
  PublishAllPorts: "boolean",
  ReadonlyRootfs: "boolean",
  SecurityOpt: goList("string"),
  StorageOpt: optional(map("string")),
  Tmpfs: optional(map("string")),
  UTSMode: "string",
  UsernsMode: "string",
  ShmSize: "integer",
  Sysctls: optional(map("string")),
  Runtime: optional("string"),
  Isolation: "string",
  MaskedPaths: goList("string"),
  ReadonlyPaths: goList("string"),
  Init: optional(nullable("boolean")),
});

const healthStatus = words("none", "starting", "healthy", "unhealthy");
const healthState = object({
  Status: healthStatus,
  FailingStreak: "integer",
  Log: goList(object({ Start: "time", End: "time", ExitCode: "integer", Output: "string" })),
});

const imageManifest = object({
  mediaType: "string",
  digest: "digest",
  size: "integer",
  annotations: optional(map("string")),
  platform: object({ architecture: "string", os: "string", variant: optional("string") }),
});

/** A fact about the default bridge from when there was no other network: newer engines may leave it out for older clients too. */
const untilRemoved = (of: Shape) => field(of, { before: "1.52", engineBefore: "1.52" });

export const container = object({
  Id: "id",
  Created: "time",
  Path: "string",
  Args: list("string"),
  State: object({
    Status: states,
    Running: "boolean",
    Paused: "boolean",
    Restarting: "boolean",
    OOMKilled: "boolean",
    Dead: "boolean",
    Pid: "integer",
    ExitCode: "integer",
    Error: "string",
    StartedAt: "time",
    FinishedAt: "time",
    Health: optional(healthState),
  }),
  Image: "digest",
  ResolvConfPath: "string",
  HostnamePath: "string",
  HostsPath: "string",
  LogPath: "string",
  Name: "string",
  RestartCount: "integer",
  Driver: "string",
  Platform: "string",
  MountLabel: "string",
  ProcessLabel: "string",
  AppArmorProfile: "string",
  ExecIDs: goList("id"),
  HostConfig: hostConfig,
  // The one where images are in a store of dockerd's own, the other where they are in containerd.
  GraphDriver: field(graphDriver, { optionalSince: "1.52" }),
  Storage: field(object({ RootFS: object({ Snapshot: object({ Name: "string" }) }) }), {
    optional: true,
    since: "1.52",
  }),
  SizeRw: optional("integer"),
  SizeRootFs: optional("integer"),
  Mounts: list(mountPoint),
  Config: extended(config, {
    MacAddress: field("string", { optional: true, before: "1.52" }),
  }),
  ImageManifestDescriptor: field(imageManifest, { optional: true, since: "1.48" }),
  NetworkSettings: object({
    Bridge: untilRemoved("string"),
    SandboxID: "string",
    HairpinMode: untilRemoved("boolean"),
    LinkLocalIPv6Address: untilRemoved("string"),
    LinkLocalIPv6PrefixLen: untilRemoved("integer"),
    Ports: nullable(portBindings),
    SandboxKey: "string",
    SecondaryIPAddresses: untilRemoved(goList(object({ Addr: "string", PrefixLen: "integer" }))),
    SecondaryIPv6Addresses: untilRemoved(goList(object({ Addr: "string", PrefixLen: "integer" }))),
    EndpointID: untilRemoved("string"),
    Gateway: untilRemoved("string"),
    GlobalIPv6Address: untilRemoved("string"),
    GlobalIPv6PrefixLen: untilRemoved("integer"),
    IPAddress: untilRemoved("string"),
    IPPrefixLen: untilRemoved("integer"),
    IPv6Gateway: untilRemoved("string"),
    MacAddress: untilRemoved("string"),
    Networks: map(endpoint),
  }),
});

const healthSummary = object({ Status: healthStatus, FailingStreak: "integer" });

const containerSummary = object({
  Id: "id",
  Names: list("string"),
  Image: "string",
  ImageID: "digest",
  Command: "string",
  Created: "integer",
  Ports: list(
    object({
      IP: optional("string"),
      PrivatePort: "integer",
      PublicPort: optional("integer"),
      Type: words("tcp", "udp", "sctp"),
    }),
  ),
  SizeRw: optional("integer"),
  SizeRootFs: optional("integer"),
  Labels: map("string"),
  State: states,
  Status: "string",
  HostConfig: object({
    NetworkMode: optional("string"),
    Annotations: field(map("string"), { optional: true, since: "1.46" }),
  }),
  Health: field(healthSummary, { since: "1.52" }),
  NetworkSettings: object({ Networks: map(endpoint) }),
  Mounts: list(mountPoint),
});

export const listedContainer = extended(containerSummary, {
  ImageManifestDescriptor: field(imageManifest, { optional: true, since: "1.48" }),
});

/** A container where it is about room on the disk: what is new in it is there for clients of all versions. */
export const measuredContainer = extended(containerSummary, {
  HostConfig: object({
    NetworkMode: optional("string"),
    Annotations: field(map("string"), { optional: true, engineSince: "1.46" }),
  }),
  Health: field(healthSummary, { engineSince: "1.52" }),
});

export const created = object({ Id: "id", Warnings: goList("string") });
export const top = object({ Titles: list("string"), Processes: list(list("string")) });
export const changes = nullable(list(object({ Path: "string", Kind: "integer" })));
export const updated = object({ Warnings: goList("string") });
export const waited = object({
  StatusCode: "integer",
  Error: optional(nullable(object({ Message: "string" }))),
});
export const pruned = object({ ContainersDeleted: goList("id"), SpaceReclaimed: "integer" });

/** What `X-Docker-Container-Path-Stat` holds. */
export const pathStat = object({
  name: "string",
  size: "integer",
  mode: "integer",
  mtime: "time",
  linkTarget: "string",
});

export const execConfig = object({
  ID: "id",
  Running: "boolean",
  ExitCode: nullable("integer"),
  ProcessConfig: object({
    tty: "boolean",
    entrypoint: "string",
    arguments: list("string"),
    privileged: optional(nullable("boolean")),
    user: optional("string"),
  }),
  OpenStdin: "boolean",
  OpenStderr: "boolean",
  OpenStdout: "boolean",
  CanRemove: "boolean",
  ContainerID: "id",
  DetachKeys: "string",
  Pid: "integer",
});

const blkio = goList(object({ major: "integer", minor: "integer", op: "string", value: "integer" }));
const cpu = object({
  cpu_usage: object({
    total_usage: "integer",
    percpu_usage: optional(list("integer")),
    usage_in_kernelmode: "integer",
    usage_in_usermode: "integer",
  }),
  system_cpu_usage: optional("integer"),
  online_cpus: optional("integer"),
  throttling_data: object({
    periods: "integer",
    throttled_periods: "integer",
    throttled_time: "integer",
  }),
});

export const stats = object({
  id: "id",
  name: "string",
  os_type: field("string", { engineSince: "1.52" }),
  read: "time",
  preread: "time",
  num_procs: "integer",
  pids_stats: object({ current: optional("integer"), limit: optional("integer") }),
  blkio_stats: object({
    io_service_bytes_recursive: blkio,
    io_serviced_recursive: blkio,
    io_queue_recursive: blkio,
    io_service_time_recursive: blkio,
    io_wait_time_recursive: blkio,
    io_merged_recursive: blkio,
    io_time_recursive: blkio,
    sectors_recursive: blkio,
  }),
  storage_stats: object({}),
  cpu_stats: cpu,
  precpu_stats: cpu,
  memory_stats: object({
    usage: optional("integer"),
    max_usage: optional("integer"),
    stats: optional(map("integer")),
    failcnt: optional("integer"),
    limit: optional("integer"),
  }),
  networks: optional(
    map(
      object({
        rx_bytes: "integer",
        rx_packets: "integer",
        rx_errors: "integer",
        rx_dropped: "integer",
        tx_bytes: "integer",
        tx_packets: "integer",
        tx_errors: "integer",
        tx_dropped: "integer",
      }),
    ),
  ),
});
