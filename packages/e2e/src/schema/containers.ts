import { config, graphDriver } from "./common.ts";
import {
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
  // Of 1.48; an engine may be ahead of its version.
  GwPriority: field("integer", { optional: true, engineSince: "1.44" }),
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

const healthState = object({
  Status: words("none", "starting", "healthy", "unhealthy"),
  FailingStreak: "integer",
  Log: goList(object({ Start: "time", End: "time", ExitCode: "integer", Output: "string" })),
});

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
  GraphDriver: graphDriver,
  SizeRw: optional("integer"),
  SizeRootFs: optional("integer"),
  Mounts: list(mountPoint),
  Config: config,
  NetworkSettings: object({
    Bridge: "string",
    SandboxID: "string",
    HairpinMode: "boolean",
    LinkLocalIPv6Address: "string",
    LinkLocalIPv6PrefixLen: "integer",
    Ports: nullable(portBindings),
    SandboxKey: "string",
    SecondaryIPAddresses: goList(object({ Addr: "string", PrefixLen: "integer" })),
    SecondaryIPv6Addresses: goList(object({ Addr: "string", PrefixLen: "integer" })),
    EndpointID: "string",
    Gateway: "string",
    GlobalIPv6Address: "string",
    GlobalIPv6PrefixLen: "integer",
    IPAddress: "string",
    IPPrefixLen: "integer",
    IPv6Gateway: "string",
    MacAddress: "string",
    Networks: map(endpoint),
  }),
});

export const containerSummary = object({
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
  HostConfig: object({ NetworkMode: optional("string") }),
  NetworkSettings: object({ Networks: map(endpoint) }),
  Mounts: list(mountPoint),
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
