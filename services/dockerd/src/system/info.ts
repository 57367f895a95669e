import fs from "node:fs";
import os from "node:os";
import { VERSION } from "@longshore/cli";
import { DRIVER_NAMES } from "@longshore/log-drivers";
import { STOCK_RUNTIME } from "../config/runtimes.ts";
import type { Settings } from "../config/settings.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { kernelVersion, operatingSystem, readOr } from "./host-facts.ts";
import { hostLimits, limitWarnings } from "./host-limits.ts";
import { openWarnings } from "./open-warnings.ts";

/** What the daemon and its host are, as `GET /info`. */
export async function daemonInfo(engine: Engine, call: ApiCall): Promise<object> {
  const [images, containerd] = await Promise.all([
    engine.images.list(),
    engine.containerd.version.version({}),
  ]);
  const count = (status: string) =>
    engine.containers.list().filter(({ record }) => record.state.status === status).length;
  const total = engine.containers.list().length;
  const { name, version } = operatingSystem();
  const { flags } = engine;
  const limits = hostLimits();
  // A container has a namespace of control groups, unless it asks for the host's.
  const isApart = flags.defaults.cgroupnsMode === "private";
  const forwards = isOn("/proc/sys/net/ipv4/ip_forward");
  const warnings = [
    ...openWarnings(flags),
    ...limitWarnings(limits),
    ...(forwards ? [] : ["WARNING: IPv4 forwarding is disabled"]),
  ];
  return {
    ID: engine.id,
    Containers: total,
    ContainersRunning: count("running"),
    ContainersPaused: count("paused"),
    ContainersStopped: total - count("running") - count("paused"),
    Images: images.length,
    Driver: "overlayfs",
    DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]],
    Plugins: {
      Volume: ["local"],
      Network: ["bridge", "host", "ipvlan", "macvlan", "null"],
      Authorization: flags.authorizationPlugins.length > 0 ? flags.authorizationPlugins : null,
      Log: DRIVER_NAMES.filter((name) => name !== "none"),
    },
    ...limits,
    IPv4Forwarding: forwards,
    BridgeNfIptables: isOn("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    BridgeNfIp6tables: isOn("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
    Debug: flags.debug,
    NFd: fs.readdirSync("/proc/self/fd").length,
    NGoroutines: 0,
    SystemTime: new Date().toISOString(),
    LoggingDriver: flags.logDriver,
    CgroupDriver: flags.cgroupDriver,
    NEventsListener: engine.events.listenerCount,
    KernelVersion: kernelVersion(),
    OperatingSystem: name,
    OSVersion: version,
    OSType: "linux",
    Architecture: os.machine(),
    IndexServerAddress: "https://index.docker.io/v1/",
    RegistryConfig: {
      AllowNondistributableArtifactsCIDRs: null,
      AllowNondistributableArtifactsHostnames: null,
      InsecureRegistryCIDRs: [...flags.insecureRegistries.filter(isNetwork), "127.0.0.0/8"],
      IndexConfigs: indexConfigs(flags),
      Mirrors: flags.registryMirrors,
    },
    NCPU: os.cpus().length,
    MemTotal: os.totalmem(),
    GenericResources: null,
    DockerRootDir: flags.dataRoot,
    HttpProxy: masked(flags.proxies.httpProxy),
    HttpsProxy: masked(flags.proxies.httpsProxy),
    NoProxy: flags.proxies.noProxy,
    Name: os.hostname(),
    Labels: flags.labels,
    ExperimentalBuild: false,
    ServerVersion: VERSION,
    Runtimes: { [STOCK_RUNTIME]: { path: "runc" }, ...Object.fromEntries(flags.runtimes) },
    DefaultRuntime: flags.defaultRuntime,
    Swarm: {
      NodeID: "",
      NodeAddr: "",
      LocalNodeState: "inactive",
      ControlAvailable: false,
      Error: "",
      RemoteManagers: null,
    },
    LiveRestoreEnabled: flags.liveRestore,
    Isolation: "",
    InitBinary: "",
    ContainerdCommit: {
      ID: containerd.revision || containerd.version,
      ...(!call.atLeast("1.48") && { Expected: containerd.revision || containerd.version }),
    },
    RuncCommit: { ID: "", Expected: "" },
    InitCommit: { ID: "", Expected: "" },
    ...(call.atLeast("1.25")
      ? {
          SecurityOptions: [
            `name=seccomp,profile=${flags.defaults.seccompName}`,
            ...(isApart ? ["name=cgroupns"] : []),
            ...(engine.userns ? ["name=userns"] : []),
            ...(flags.defaults.noNewPrivileges ? ["name=no-new-privileges"] : []),
          ],
        }
      : {
          SecurityOptions: [
            "seccomp",
            ...(isApart ? ["cgroupns"] : []),
            ...(engine.userns ? ["userns"] : []),
          ],
          ExecutionDriver: "<not supported>",
        }),
    ...(flags.addressPools.length > 0 && {
      DefaultAddressPools: flags.addressPools.map(({ base, size }) => ({ Base: base, Size: size })),
    }),
    // No devices by CDI.
    CDISpecDirs: [],
    Warnings: warnings.length > 0 ? warnings : null,
  };
}

const isOn = (file: string) => readOr(file, "0").trim() === "1";

const isNetwork = (registry: string) => registry.includes("/");

/** A proxy's address for everybody's eyes, as Docker shows it. */
function masked(proxy: string): string {
  const url = URL.parse(proxy);
  if (!url || (url.username === "" && url.password === "")) return proxy;
  return proxy.replace(/\/\/[^@]*@/, "//xxxxx:xxxxx@");
}

/** Docker Hub and the registries that may go without TLS. */
function indexConfigs({ insecureRegistries, registryMirrors }: Settings): object {
  const entry = (Name: string, Mirrors: string[], Secure: boolean) => ({
    Name,
    Mirrors,
    Secure,
    Official: Secure,
  });
  return {
    "docker.io": entry("docker.io", registryMirrors, true),
    ...Object.fromEntries(
      insecureRegistries.filter((name) => !isNetwork(name)).map((name) => [name, entry(name, [], false)]),
    ),
  };
}
