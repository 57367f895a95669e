import { measuredContainer } from "./containers.ts";
import { measuredImage } from "./images.ts";
import { volume } from "./networks.ts";
import { field, goList, list, map, nullable, object, optional, pair, type Shape, words } from "./shape.ts";

export const version = object({
  Platform: object({ Name: "string" }),
  Components: list(object({ Name: "string", Version: "string", Details: optional(map("string")) })),
  Version: "string",
  ApiVersion: "string",
  MinAPIVersion: "string",
  GitCommit: "string",
  GoVersion: "string",
  Os: "string",
  Arch: "string",
  KernelVersion: "string",
  Experimental: optional("boolean"),
  BuildTime: optional("string"),
});

const commit = object({ ID: "string", Expected: field("string", { before: "1.49" }) });

export const info = object({
  ID: "string",
  Containers: "integer",
  ContainersRunning: "integer",
  ContainersPaused: "integer",
  ContainersStopped: "integer",
  Images: "integer",
  Driver: "string",
  DriverStatus: list(pair("string", "string")),
  SystemStatus: optional(nullable(list(pair("string", "string")))),
  Plugins: object({
    Volume: goList("string"),
    Network: goList("string"),
    Authorization: goList("string"),
    Log: goList("string"),
  }),
  MemoryLimit: "boolean",
  SwapLimit: "boolean",
  KernelMemory: field("boolean", { engineBefore: "1.42" }),
  KernelMemoryTCP: field("boolean", { engineBefore: "1.42" }),
  CpuCfsPeriod: "boolean",
  CpuCfsQuota: "boolean",
  CPUShares: "boolean",
  CPUSet: "boolean",
  PidsLimit: "boolean",
  OomKillDisable: "boolean",
  IPv4Forwarding: "boolean",
  BridgeNfIptables: field("boolean", { before: "1.50" }),
  BridgeNfIp6tables: field("boolean", { before: "1.50" }),
  Debug: "boolean",
  NFd: "integer",
  NGoroutines: "integer",
  SystemTime: "time",
  LoggingDriver: "string",
  CgroupDriver: words("cgroupfs", "systemd", "none"),
  CgroupVersion: words("1", "2"),
  NEventsListener: "integer",
  KernelVersion: "string",
  OperatingSystem: "string",
  OSVersion: "string",
  OSType: "string",
  Architecture: "string",
  IndexServerAddress: "string",
  RegistryConfig: object({
    AllowNondistributableArtifactsCIDRs: field(goList("string"), { before: "1.47" }),
    AllowNondistributableArtifactsHostnames: field(goList("string"), { before: "1.47" }),
    InsecureRegistryCIDRs: list("string"),
    IndexConfigs: map(
      object({ Name: "string", Mirrors: list("string"), Secure: "boolean", Official: "boolean" }),
    ),
    Mirrors: goList("string"),
  }),
  NCPU: "integer",
  MemTotal: "integer",
  GenericResources: nullable(list("anything")),
  DockerRootDir: "string",
  HttpProxy: "string",
  HttpsProxy: "string",
  NoProxy: "string",
  Name: "string",
  Labels: list("string"),
  ExperimentalBuild: "boolean",
  ServerVersion: "string",
  ClusterStore: optional("string"),
  ClusterAdvertise: optional("string"),
  Runtimes: map(
    object({
      path: optional("string"),
      runtimeArgs: optional(list("string")),
      runtimeType: optional("string"),
      options: optional(map("anything")),
      status: field(map("string"), { optional: true, since: "1.44" }),
    }),
  ),
  DefaultRuntime: "string",
  Swarm: object({
    NodeID: "string",
    NodeAddr: "string",
    LocalNodeState: "string",
    ControlAvailable: "boolean",
    Error: "string",
    RemoteManagers: nullable(list("anything")),
  }),
  LiveRestoreEnabled: "boolean",
  Isolation: "string",
  InitBinary: "string",
  ContainerdCommit: commit,
  RuncCommit: commit,
  InitCommit: commit,
  SecurityOptions: list("string"),
  // Newer engines may leave it out for older clients too.
  ExecutionDriver: field("string", { before: "1.25", engineBefore: "1.52" }),
  ProductLicense: optional("string"),
  DefaultAddressPools: optional(list(object({ Base: "string", Size: "integer" }))),
  Warnings: goList("string"),
  CDISpecDirs: field(goList("string"), { engineSince: "1.44" }),
  Containerd: field(
    object({ Address: "string", Namespaces: object({ Containers: "string", Plugins: "string" }) }),
    { since: "1.46" },
  ),
  FirewallBackend: field(object({ Driver: "string", Info: optional(list(pair("string", "string"))) }), {
    since: "1.49",
  }),
  DiscoveredDevices: field(list(object({ Source: "string", ID: "string" })), {
    ...{ optional: true, since: "1.50" },
  }),
  NRI: field(object({ Info: optional(list(pair("string", "string"))) }), { optional: true, since: "1.53" }),
});

const buildCache = object({
  ID: "string",
  Parent: optional("string"),
  Type: "string",
  Description: "string",
  InUse: "boolean",
  Shared: "boolean",
  Size: "integer",
  CreatedAt: "time",
  LastUsedAt: nullable("time"),
  UsageCount: "integer",
});

/** Of one kind of things: how many there are and what room they take, without what is zero. */
const usage = (of: Shape) =>
  field(
    object({
      ActiveCount: optional("integer"),
      Items: optional(list(of)),
      Reclaimable: optional("integer"),
      TotalCount: optional("integer"),
      TotalSize: optional("integer"),
    }),
    { optional: true, since: "1.52" },
  );
/** Left out where other types are asked for, and where the answer is verbose. */
const unlessTyped = (of: Shape) => field(of, { optionalSince: "1.42" });

export const diskUsage = object({
  LayersSize: unlessTyped("integer"),
  Images: unlessTyped(goList(measuredImage)),
  Containers: unlessTyped(goList(measuredContainer)),
  Volumes: unlessTyped(goList(volume)),
  BuildCache: unlessTyped(goList(buildCache)),
  BuilderSize: field("integer", { engineBefore: "1.42", before: "1.44" }),
  ImageUsage: usage(measuredImage),
  ContainerUsage: usage(measuredContainer),
  VolumeUsage: usage(volume),
  BuildCacheUsage: usage(buildCache),
});

export const event = object({
  status: field("string", { optional: true, before: "1.52" }),
  id: field("string", { optional: true, before: "1.52" }),
  from: field("string", { optional: true, before: "1.52" }),
  Type: words("container", "image", "volume", "network", "daemon", "plugin", "builder"),
  Action: "string",
  Actor: object({ ID: "string", Attributes: map("string") }),
  scope: words("local", "swarm"),
  time: "integer",
  timeNano: "integer",
});

export const auth: Shape = object({
  Status: "string",
  IdentityToken: field("string", { engineBefore: "1.52" }),
});
export const plugins = list("anything");
