import fs from "node:fs";
import os from "node:os";
import { VERSION } from "@longshore/cli";
import { DRIVER_NAMES } from "@longshore/log-drivers";
import { RUNC_SHIM, STOCK_RUNTIME } from "../config/runtimes.ts";
import type { Settings } from "../config/settings.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { hasAppArmor } from "./app-armor-host.ts";
import { defaultRuntimeVersion, initVersion, runtimeStatus } from "./components.ts";
import { kernelVersion, operatingSystem, readOr } from "./host-facts.ts";
import { deviceLimitWarnings, hostLimits, limitWarnings } from "./host-limits.ts";
import { openWarnings } from "./open-warnings.ts";

/** What the daemon and its host are, as `GET /info`. */
export async function daemonInfo(engine: Engine, call: ApiCall): Promise<object> {
  const [images, containerd, runc, init, runtimes] = await Promise.all([
    engine.images.list(),
    engine.containerd.version.version({}),
    defaultRuntimeVersion(engine),
    initVersion(engine),
    showRuntimes(engine, { status: call.atLeast("1.44") }),
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
    ...deviceLimitWarnings(),
    ...(flags.defaults.seccompName === "builtin"
      ? []
      : ["WARNING: daemon is not using the default seccomp profile"]),
    ...(forwards ? [] : ["WARNING: IPv4 forwarding is disabled"]),
  ];
  const commit = (ID: string) => ({ ID, ...(!call.atLeast("1.49") && { Expected: ID }) });
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
    ...(!call.atLeast("1.50") && {
      BridgeNfIptables: isOn("/proc/sys/net/bridge/bridge-nf-call-iptables"),
      BridgeNfIp6tables: isOn("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
    }),
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
      ...(!call.atLeast("1.47") && {
        AllowNondistributableArtifactsCIDRs: null,
        AllowNondistributableArtifactsHostnames: null,
      }),
      InsecureRegistryCIDRs: [...flags.insecureRegistries.filter(isNetwork), "::1/128", "127.0.0.0/8"],
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
    Runtimes: runtimes,
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
    InitBinary: flags.initPath ?? "docker-init",
    ContainerdCommit: commit(containerd.revision || containerd.version),
    RuncCommit: commit(runc?.commit ?? "N/A"),
    InitCommit: commit(init?.commit ?? "N/A"),
    ...(call.atLeast("1.25")
      ? {
          SecurityOptions: [
            ...(hasAppArmor() ? ["name=apparmor"] : []),
            `name=seccomp,profile=${flags.defaults.seccompName}`,
            ...(isApart ? ["name=cgroupns"] : []),
            ...(engine.userns ? ["name=userns"] : []),
            ...(flags.defaults.noNewPrivileges ? ["name=no-new-privileges"] : []),
          ],
        }
      : {
          SecurityOptions: [
            ...(hasAppArmor() ? ["apparmor"] : []),
            "seccomp",
            ...(isApart ? ["cgroupns"] : []),
            ...(engine.userns ? ["userns"] : []),
          ],
          ExecutionDriver: "<not supported>",
        }),
    ...(flags.addressPools.length > 0 && {
      DefaultAddressPools: flags.addressPools.map(({ base, size }) => ({ Base: base, Size: size })),
    }),
    ...(call.atLeast("1.46") && {
      Containerd: {
        Address: flags.containerdSocket,
        // There are no managed plugins in the other.
        Namespaces: { Containers: flags.containerdNamespace, Plugins: "plugins.moby" },
      },
    }),
    ...(call.atLeast("1.49") && { FirewallBackend: firewallBackend(engine) }),
    // No devices by CDI.
    CDISpecDirs: [],
    Warnings: warnings.length > 0 ? warnings : null,
  };
}

/** @param status whether what each says of itself is told as well */
async function showRuntimes(engine: Engine, { status }: { status: boolean }): Promise<object> {
  const all = [
    ...[STOCK_RUNTIME, RUNC_SHIM].map((name) => [name, { path: "runc" }] as const),
    ...engine.flags.runtimes,
  ];
  const shown = all.map(async ([name, runtime]) => [
    name,
    { ...runtime, ...(status && { status: await runtimeStatus(engine, name) }) },
  ]);
  return Object.fromEntries(await Promise.all(shown));
}

function firewallBackend({ networks }: Engine): object {
  const { isWithFirewalld, reloadedAt } = networks.firewall();
  if (!isWithFirewalld) return { Driver: "nftables" };
  const reloaded = reloadedAt && [["ReloadedAt", `${reloadedAt.toISOString().slice(0, 19)}Z`]];
  return { Driver: "nftables+firewalld", ...(reloaded && { Info: reloaded }) };
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
