import { EngineError, toEngineError } from "@longshore/errors";
import type { Linux, Mount, Spec } from "@longshore/oci";
import { type CgroupDriver, cgroupsPathOf } from "../config/cgroup-driver.ts";
import type { ContainerDefaults } from "../config/settings.ts";
import type { ContainerRecord, ProcessBounds } from "../containers/container.ts";
import type { HostConfig } from "../containers/container-config.ts";
import { namespacesOf } from "../containers/namespace-modes.ts";
import type { Remap } from "../userns/remap.ts";
import { rootPropagation } from "../volumes/mount-point.ts";
import { capabilitiesOf } from "./capabilities.ts";
import { devicesOf } from "./devices.ts";
import { mergeEnv, processEnv } from "./environment.ts";
import { withInit } from "./init-process.ts";
import { type EtcFiles, mountsOf } from "./mounts.ts";
import { toLinuxResources } from "./resources.ts";
import { seccompOf } from "./seccomp-profile.ts";
import { parseSecurityOptions } from "./security-options.ts";
import { shownPaths } from "./system-paths.ts";
import { resolveUser, type UserFiles } from "./user.ts";

const OCI_VERSION = "1.0.2";
export interface SpecInputs {
  cgroupDriver: CgroupDriver;
  /** Of a container that names none. */
  cgroupParent: string;
  etc: EtcFiles;
  /** Path of the network namespace to join; undefined for the host's. */
  netns: string | undefined;
  /** Paths of namespaces of other containers to join; undefined for one of its own. */
  pid?: string | undefined;
  ipc?: string | undefined;
  /** Where on the host its /dev/shm is; undefined for one that it doesn't share. */
  shm?: string | undefined;
  userFiles: UserFiles;
  /** What the user has mounted. */
  mounts: readonly Mount[];
  /** What the environment tells of other containers. */
  variables?: readonly string[];
  /** The program that is to be the first process, on the host; undefined for none. */
  init?: string | undefined;
  /** Its user namespace; undefined for the host's. */
  users?: { path: string; remap: Pick<Remap, "uidMappings" | "gidMappings"> } | undefined;
  /** Its AppArmor profile; undefined where the kernel has none. */
  appArmorProfile?: string | undefined;
  /** For what the container leaves open. */
  defaults?: Pick<ContainerDefaults, "noNewPrivileges" | "seccomp" | "ulimits">;
}

/**
 * The OCI spec of a container, with Docker's defaults.
 * @throws EngineError `internal`, as Docker has it, for a user, capability, device or option that makes no sense: the request to start is all right
 */
export function generateSpec(record: ContainerRecord, inputs: SpecInputs): Spec {
  try {
    return makeSpec(record, inputs);
  } catch (error) {
    throw new EngineError("internal", toEngineError(error).message, { cause: error });
  }
}

function makeSpec(record: ContainerRecord, inputs: SpecInputs): Spec {
  const { config, hostConfig } = record;
  const security = parseSecurityOptions(hostConfig.SecurityOpt, inputs.defaults);
  const { add, drop } = { add: hostConfig.CapAdd, drop: hostConfig.CapDrop };
  const capabilities = capabilitiesOf({ add, drop, privileged: hostConfig.Privileged });
  const user = resolveUser(config.User, inputs.userFiles, hostConfig.GroupAdd);
  const command = [record.path, ...record.args];
  const init = inputs.init === undefined ? undefined : withInit(command, inputs.init);
  const privateUts = hostConfig.UTSMode !== "host";
  const [height, width] = hostConfig.ConsoleSize;
  return {
    ociVersion: OCI_VERSION,
    ...(privateUts && { hostname: config.Hostname }),
    ...(privateUts && config.Domainname !== "" && { domainname: config.Domainname }),
    process: {
      terminal: config.Tty,
      ...(config.Tty && height > 0 && width > 0 && { consoleSize: { height, width } }),
      user,
      args: init?.args ?? command,
      env: processEnv({
        env: mergeEnv(inputs.variables ?? [], config.Env),
        hostname: config.Hostname,
        terminal: config.Tty,
      }),
      cwd: config.WorkingDir || "/",
      capabilities: {
        bounding: capabilities,
        permitted: capabilities,
        effective: capabilities,
        inheritable: [],
        ambient: [],
      },
      ...processBounds(hostConfig, inputs.defaults),
      ...(inputs.appArmorProfile && { apparmorProfile: inputs.appArmorProfile }),
      oomScoreAdj: hostConfig.OomScoreAdj,
    },
    root: { path: "rootfs", readonly: hostConfig.ReadonlyRootfs },
    mounts: [
      ...mountsOf({ ...inputs, host: hostConfig, writableCgroups: security.writableCgroups }),
      ...(init ? [init.mount] : []),
    ],
    annotations: hostConfig.Annotations,
    linux: linux(record, inputs, capabilities, security),
  };
}

/** What bounds a container's processes: its own options, and the daemon's for what they leave open. */
export function processBounds(
  { Ulimits, SecurityOpt }: Pick<HostConfig, "Ulimits" | "SecurityOpt">,
  defaults?: SpecInputs["defaults"],
): ProcessBounds {
  return {
    rlimits: withDefaultUlimits(Ulimits, defaults?.ulimits).map(({ Name, Soft, Hard }) => ({
      type: `RLIMIT_${Name.toUpperCase()}`,
      soft: Soft,
      hard: Hard,
    })),
    noNewPrivileges: parseSecurityOptions(SecurityOpt, defaults).noNewPrivileges,
  };
}

/** A container's own limits, and the daemon's for what it doesn't limit itself. */
export function withDefaultUlimits(own: HostConfig["Ulimits"], defaults: ContainerDefaults["ulimits"] = {}) {
  const names = own.map(({ Name }) => Name.toLowerCase());
  const others = Object.entries(defaults).filter(([name]) => !names.includes(name.toLowerCase()));
  return [...own, ...others.map(([Name, limit]) => ({ Name, ...limit }))];
}

function linux(
  record: ContainerRecord,
  { cgroupDriver: driver, cgroupParent, netns, pid, ipc, users }: SpecInputs,
  capabilities: string[],
  security: ReturnType<typeof parseSecurityOptions>,
): Linux {
  const { id, hostConfig } = record;
  const { devices, rules } = devicesOf(hostConfig);
  const rootfsPropagation = rootPropagation(record);
  const open = hostConfig.Privileged || security.unconfinedSystemPaths;
  const paths = shownPaths(hostConfig);
  const seccomp = hostConfig.Privileged ? undefined : seccompOf(security.seccomp, capabilities);
  return {
    namespaces: namespacesOf(hostConfig, { netns, pid, ipc, user: users?.path }),
    ...(users && { uidMappings: [...users.remap.uidMappings], gidMappings: [...users.remap.gidMappings] }),
    devices,
    cgroupsPath: cgroupsPathOf(id, { parent: hostConfig.CgroupParent || cgroupParent, driver }),
    resources: { devices: rules, ...toLinuxResources(hostConfig) },
    sysctl: hostConfig.Sysctls,
    maskedPaths: open ? [] : (paths.MaskedPaths ?? []),
    readonlyPaths: open ? [] : (paths.ReadonlyPaths ?? []),
    ...(rootfsPropagation && { rootfsPropagation }),
    ...(seccomp && { seccomp }),
  };
}
