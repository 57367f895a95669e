import path from "node:path";
import { containerDir, type Engine } from "../engine.ts";
import type { Asked } from "../http/api-version.ts";
import { showLinks } from "../links/container-links.ts";
import { logPath } from "../logs/container-log.ts";
import { networkName, shownMode } from "../networks/network-mode.ts";
import { plainEndpointId, showNetworks } from "../networks/show-endpoints.ts";
import { withDefaultUlimits } from "../spec/generate-spec.ts";
import { parseSecurityOptions } from "../spec/security-options.ts";
import { shownPaths } from "../spec/system-paths.ts";
import { appArmorProfileOf } from "../system/app-armor.ts";
import { hasAppArmor } from "../system/app-armor-host.ts";
import { showMounts } from "../volumes/mount-point.ts";
import { type Container, type ContainerRecord, ZERO_TIME } from "./container.ts";
import { hasProcess, isRunning } from "./container-status.ts";
import { showPorts } from "./port-bindings.ts";

/** The whole truth about a container, as `GET /containers/{id}/json`. */
export function inspectContainer(engine: Engine, { record, execs }: Container, asked: Asked): object {
  const { id, state } = record;
  const directory = containerDir(engine, id);
  // Docker has no files before the first start.
  const isNew = state.startedAt === ZERO_TIME && state.error === "";
  const file = (name: string) => (isNew ? "" : path.join(directory, name));
  return {
    Id: id,
    Created: record.created,
    Path: record.path,
    Args: record.args,
    State: {
      Status: state.status,
      Running: isRunning(state.status),
      Paused: state.status === "paused",
      Restarting: state.status === "restarting",
      OOMKilled: state.oomKilled,
      Dead: state.status === "dead",
      Pid: state.pid,
      ExitCode: state.exitCode,
      Error: state.error,
      StartedAt: state.startedAt,
      FinishedAt: state.finishedAt,
      ...(state.health && { Health: state.health }),
    },
    Image: record.imageId,
    ResolvConfPath: file("resolv.conf"),
    HostnamePath: file("hostname"),
    HostsPath: file("hosts"),
    LogPath: isNew ? "" : logPath(engine, record),
    Name: `/${record.name}`,
    RestartCount: record.restartCount ?? 0,
    Driver: "overlayfs",
    Platform: "linux",
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: shownProfile(record, { isNew }),
    ExecIDs: execs.size > 0 ? [...execs] : null,
    HostConfig: showHostConfig(engine, record, asked),
    ...(asked.atLeast("1.52")
      ? { Storage: { RootFS: { Snapshot: { Name: "overlayfs" } } } }
      : { GraphDriver: { Data: null, Name: "overlayfs" } }),
    Mounts: showMounts(record),
    Config: showConfig(record, asked),
    NetworkSettings: showNetworkSettings(engine, record, asked),
    ...showManifest(record, asked),
  };
}

/** As Docker has it: before the first start only what was asked for. */
function shownProfile({ hostConfig }: ContainerRecord, { isNew }: { isNew: boolean }): string {
  const asked = hostConfig.SecurityOpt.includes("apparmor=unconfined") ? "unconfined" : "";
  if (!hasAppArmor()) return asked;
  return isNew
    ? (parseSecurityOptions(hostConfig.SecurityOpt).appArmor ?? "")
    : (appArmorProfileOf(hostConfig) ?? "");
}

/** The manifest that a container was made from, as lists of containers have it too. */
export function showManifest({ imageManifest }: ContainerRecord, { atLeast }: Asked): object {
  return imageManifest && atLeast("1.48") ? { ImageManifestDescriptor: imageManifest } : {};
}

function showHostConfig(engine: Engine, record: ContainerRecord, asked: Asked): object {
  const { hostConfig } = record;
  const { RestartPolicy, Tmpfs, Sysctls, StorageOpt, Annotations, Mounts, Init, ...rest } = hostConfig;
  const orMissing = (name: string, map: object) => (Object.keys(map).length > 0 ? { [name]: map } : {});
  return {
    ...rest,
    NetworkMode: shownMode(rest.NetworkMode, asked),
    RestartPolicy: { ...RestartPolicy, Name: RestartPolicy.Name || "no" },
    ...orMissing("Tmpfs", Tmpfs),
    ...orMissing("Sysctls", Sysctls),
    ...orMissing("StorageOpt", StorageOpt),
    ...orMissing("Annotations", Annotations),
    ...(Mounts.length > 0 && { Mounts }),
    ...(Init !== null && { Init }),
    ...shownPaths(hostConfig),
    Binds: orNull(rest.Binds),
    CapAdd: orNull(rest.CapAdd),
    CapDrop: orNull(rest.CapDrop),
    GroupAdd: orNull(rest.GroupAdd),
    ExtraHosts: orNull(rest.ExtraHosts),
    SecurityOpt: orNull(rest.SecurityOpt),
    Ulimits: withDefaultUlimits(rest.Ulimits, engine.flags.defaults.ulimits),
    Links: showLinks(engine, record),
    VolumesFrom: orNull(rest.VolumesFrom),
    MemorySwappiness: rest.MemorySwappiness < 0 ? null : rest.MemorySwappiness,
  };
}

function showConfig({ config, hostConfig, networks }: ContainerRecord, { atLeast }: Asked): object {
  // Docker had the address here, too, that was asked for on the main network.
  const main = networks.find(({ name }) => name === networkName({ hostConfig }));
  const mac = config.MacAddress || (main?.macAddress ?? "");
  const {
    ExposedPorts,
    Volumes,
    Healthcheck,
    StopTimeout,
    StopSignal,
    MacAddress: _,
    Shell,
    OnBuild,
    ArgsEscaped,
    NetworkDisabled,
    ...rest
  } = config;
  return {
    ...rest,
    ...(ExposedPorts.length > 0 && { ExposedPorts: keySet(ExposedPorts) }),
    Volumes: Volumes.length > 0 ? keySet(Volumes) : null,
    ...((OnBuild.length > 0 || !atLeast("1.52")) && { OnBuild: orNull(OnBuild) }),
    ...(NetworkDisabled && { NetworkDisabled }),
    ...(ArgsEscaped && { ArgsEscaped }),
    ...(Healthcheck && { Healthcheck: withoutZeros(Healthcheck) }),
    ...(StopSignal !== "" && { StopSignal }),
    ...(StopTimeout !== null && { StopTimeout }),
    ...(mac !== "" && !atLeast("1.52") && { MacAddress: mac }),
    ...(Shell.length > 0 && { Shell }),
  };
}

/** Whether it runs on the host's network, which no sandbox is made for: it is shown by what of it can be entered. */
function isOnHost({ hostConfig, config, state }: ContainerRecord): boolean {
  return hostConfig.NetworkMode === "host" && !config.NetworkDisabled && hasProcess(state.status);
}

function showNetworkSettings(engine: Engine, record: ContainerRecord, { atLeast }: Asked): object {
  const { sandboxId } = record;
  return {
    ...(isOnHost(record)
      ? { SandboxID: plainEndpointId(record, "host"), SandboxKey: `/proc/${record.state.pid}/ns/net` }
      : {
          SandboxID: sandboxId,
          SandboxKey: sandboxId === "" ? "" : path.join(engine.flags.execRoot, "netns", sandboxId),
        }),
    Ports: showPorts(record),
    ...(!atLeast("1.52") && showDefaultBridge(record)),
    Networks: showNetworks(engine, record, { ownNames: !atLeast("1.45") }),
  };
}

/** The endpoint on the default bridge, from the days when there was no other network, and what nobody has had since. */
function showDefaultBridge({ endpoints }: ContainerRecord): object {
  const endpoint = endpoints.find(({ networkName: name }) => name === "bridge");
  return {
    Bridge: "",
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: endpoint?.endpointId ?? "",
    Gateway: endpoint?.gateway ?? "",
    GlobalIPv6Address: endpoint?.ipv6?.address ?? "",
    GlobalIPv6PrefixLen: endpoint?.ipv6?.prefixLen ?? 0,
    IPAddress: endpoint?.ipAddress ?? "",
    IPPrefixLen: endpoint?.prefixLen ?? 0,
    IPv6Gateway: endpoint?.ipv6?.gateway ?? "",
    MacAddress: endpoint?.macAddress ?? "",
  };
}

/** Docker leaves out what isn't set. */
function withoutZeros(object: object): object {
  return Object.fromEntries(
    Object.entries(object).filter(([, value]) => (Array.isArray(value) ? value.length > 0 : value !== 0)),
  );
}

function keySet(keys: readonly string[]): Record<string, object> {
  return Object.fromEntries(keys.map((key) => [key, {}]));
}

function orNull<T>(list: readonly T[]): readonly T[] | null {
  return list.length > 0 ? list : null;
}
