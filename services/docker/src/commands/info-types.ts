import type { GoFields, GoType } from "@longshore/template";

/** The structures of Docker's client 28.2 for `docker info` and `docker version`, which templates of `--format` name the fields of. */

const strings: GoType = { slice: "string" };
const labels: GoType = { map: "string" };
const struct = (name: string, fields: GoFields): GoType => ({ struct: fields, name });
const pointer = (name: string, fields: GoFields): GoType => ({ pointer: struct(name, fields) });
const embedded = (name: string, fields: GoFields): GoType => ({ struct: fields, name, embedded: true });

const commit = struct("system.Commit", { ID: "string", Expected: "string" });

const registryConfig = pointer("registry.ServiceConfig", {
  AllowNondistributableArtifactsCIDRs: { slice: "any" },
  AllowNondistributableArtifactsHostnames: strings,
  InsecureRegistryCIDRs: { slice: "any" },
  IndexConfigs: {
    map: pointer("registry.IndexInfo", {
      Name: "string",
      Mirrors: strings,
      Secure: "bool",
      Official: "bool",
    }),
  },
  Mirrors: strings,
  ExtraFields: { map: "any" },
});

const swarm = struct("swarm.Info", {
  NodeID: "string",
  NodeAddr: "string",
  LocalNodeState: "string",
  ControlAvailable: "bool",
  Error: "string",
  RemoteManagers: { slice: struct("swarm.Peer", { NodeID: "string", Addr: "string" }) },
  Nodes: "int",
  Managers: "int",
  Cluster: pointer("swarm.ClusterInfo", { ID: "string" }),
  Warnings: strings,
});

const runtime = struct("system.RuntimeWithStatus", {
  Runtime: embedded("system.Runtime", {
    Path: ["path", "string"],
    Args: ["runtimeArgs", strings],
    Type: ["runtimeType", "string"],
    Options: ["options", { map: "any" }],
  }),
  Status: ["status", labels],
});

const info: GoFields = {
  ID: "string",
  Containers: "int",
  ContainersRunning: "int",
  ContainersPaused: "int",
  ContainersStopped: "int",
  Images: "int",
  Driver: "string",
  DriverStatus: { slice: strings },
  SystemStatus: { slice: strings },
  Plugins: struct("system.PluginsInfo", {
    Volume: strings,
    Network: strings,
    Authorization: strings,
    Log: strings,
  }),
  MemoryLimit: "bool",
  SwapLimit: "bool",
  KernelMemory: "bool",
  KernelMemoryTCP: "bool",
  CPUCfsPeriod: ["CpuCfsPeriod", "bool"],
  CPUCfsQuota: ["CpuCfsQuota", "bool"],
  CPUShares: "bool",
  CPUSet: "bool",
  PidsLimit: "bool",
  IPv4Forwarding: "bool",
  Debug: "bool",
  NFd: "int",
  OomKillDisable: "bool",
  NGoroutines: "int",
  SystemTime: "string",
  LoggingDriver: "string",
  CgroupDriver: "string",
  CgroupVersion: "string",
  NEventsListener: "int",
  KernelVersion: "string",
  OperatingSystem: "string",
  OSVersion: "string",
  OSType: "string",
  Architecture: "string",
  IndexServerAddress: "string",
  RegistryConfig: registryConfig,
  NCPU: "int",
  MemTotal: "int",
  GenericResources: { slice: "any" },
  DockerRootDir: "string",
  HTTPProxy: ["HttpProxy", "string"],
  HTTPSProxy: ["HttpsProxy", "string"],
  NoProxy: "string",
  Name: "string",
  Labels: strings,
  ExperimentalBuild: "bool",
  ServerVersion: "string",
  Runtimes: { map: runtime },
  DefaultRuntime: "string",
  Swarm: swarm,
  LiveRestoreEnabled: "bool",
  Isolation: "string",
  InitBinary: "string",
  ContainerdCommit: commit,
  RuncCommit: commit,
  InitCommit: commit,
  SecurityOptions: strings,
  ProductLicense: "string",
  DefaultAddressPools: { slice: struct("system.NetworkAddressPool", { Base: "string", Size: "int" }) },
  FirewallBackend: pointer("system.FirewallInfo", { Driver: "string", Info: { slice: strings } }),
  CDISpecDirs: strings,
  DiscoveredDevices: { slice: struct("system.DeviceInfo", { Source: "string", ID: "string" }) },
  NRI: pointer("system.NRIInfo", { Info: { slice: strings } }),
  Containerd: pointer("system.ContainerdInfo", {
    Address: "string",
    Namespaces: struct("system.ContainerdNamespaces", { Containers: "string", Plugins: "string" }),
  }),
  Warnings: strings,
};

/** What ours alone has, its runtime, comes last. */
const clientFields: GoFields = {
  Platform: pointer("system.platformInfo", { Name: "string" }),
  Version: "string",
  APIVersion: ["ApiVersion", "string"],
  DefaultAPIVersion: "string",
  GitCommit: "string",
  GoVersion: "string",
  Os: "string",
  Arch: "string",
  BuildTime: "string",
  Context: "string",
  Runtime: "string",
};

const clientInfo = pointer("system.clientInfo", {
  Debug: "bool",
  clientVersion: embedded("system.clientVersion", clientFields),
  Plugins: { slice: "any" },
  Warnings: strings,
});

export const INFO_TYPE: GoType = struct("system.dockerInfo", {
  Info: embedded("system.Info", info),
  ServerErrors: strings,
  UserName: "string",
  ClientInfo: clientInfo,
  ClientErrors: strings,
});

/** What a template of `docker info` has without asking the engine. */
export const CLIENT_INFO_TYPE: GoType = struct("system.dockerInfo", { ClientInfo: clientInfo });

export const VERSION_TYPE: GoType = struct("system.versionInfo", {
  Client: struct("system.clientVersion", clientFields),
  Server: pointer("types.Version", {
    Platform: struct("struct { Name string }", { Name: "string" }),
    Components: {
      slice: struct("types.ComponentVersion", { Name: "string", Version: "string", Details: labels }),
    },
    Version: "string",
    APIVersion: ["ApiVersion", "string"],
    MinAPIVersion: "string",
    GitCommit: "string",
    GoVersion: "string",
    Os: "string",
    Arch: "string",
    KernelVersion: "string",
    Experimental: "bool",
    BuildTime: "string",
  }),
});
