import { EngineError } from "@longshore/errors";
import type { MountRequest } from "../volumes/mount-request.ts";
import type { CreateRequest, HostConfig } from "./container-config.ts";

/** A request to create a container, as its client's version of the API has it. */
export interface MeantRequest {
  request: CreateRequest;
  /** Binds that are read-only leave what is mounted below them writable, unless they say otherwise. */
  shallowReadOnly: boolean;
  warnings: string[];
}

export interface MeantBy {
  /** Whether the request's version of the API is this one, or newer. */
  atLeast(version: string): boolean;
  /** Whether the host has cgroups of version 2 alone. */
  isUnified: boolean;
}

/**
 * What a client of an older version of the API means: fields that it can't know are as if they weren't there, and what it leaves out
 * has the default of its time.
 *
 * @throws EngineError `invalid_argument` in Docker's words for what only newer versions have, and what newer ones refuse
 * @see https://docs.docker.com/reference/api/engine/version-history/
 */
export function asMeant(asked: CreateRequest, client: MeantBy): MeantRequest {
  const { atLeast } = client;
  const HostConfig = hostConfigOf(asked.HostConfig, client);
  const { Healthcheck } = asked;
  const request: CreateRequest = {
    ...asked,
    HostConfig,
    Healthcheck: Healthcheck && !atLeast("1.44") ? { ...Healthcheck, StartInterval: 0 } : Healthcheck,
  };
  if (!atLeast("1.44")) request.NetworkingConfig = networkingOf(asked);
  const { NetworkMode } = HostConfig;
  const warnings: string[] = [];
  if (asked.MacAddress !== "") {
    const hasOwn = NetworkMode !== "host" && NetworkMode !== "none";
    if (atLeast("1.44")) {
      warnings.push(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.",
      );
      if (!hasOwn) request.MacAddress = "";
    } else if (!hasOwn) throw refusal("conflicting options: mac-address and the network mode");
  }
  return {
    request,
    shallowReadOnly: !atLeast("1.44"),
    warnings,
  };
}

function hostConfigOf(asked: HostConfig, { atLeast, isUnified }: MeantBy): HostConfig {
  const host = { ...asked, Mounts: asked.Mounts.map((mount) => mountOf(mount, atLeast)) };
  // Such a client removes its containers itself.
  if (!atLeast("1.25")) host.AutoRemove = false;
  if (!atLeast("1.40")) {
    host.KernelMemoryTCP = undefined;
    host.IpcMode ||= "shareable";
  }
  if (!atLeast("1.41") && !isUnified) host.CgroupnsMode ||= "host";
  if (!atLeast("1.42")) host.ConsoleSize = [0, 0];
  else host.KernelMemory = undefined;
  if (!atLeast("1.43")) host.Annotations = {};
  return host;
}

/** Options that go with one type of mount. */
const TYPE_OF = { VolumeOptions: "volume", BindOptions: "bind", TmpfsOptions: "tmpfs" } as const;

function mountOf(asked: MountRequest, atLeast: MeantBy["atLeast"]): MountRequest {
  const mount = { ...asked, BindOptions: asked.BindOptions && { ...asked.BindOptions } };
  const { BindOptions } = mount;
  if (atLeast("1.42")) {
    for (const [options, type] of Object.entries(TYPE_OF)) {
      if (mount[options as keyof typeof TYPE_OF] && mount.Type !== type)
        throw refusal(`${options} must not be specified on mount type ${JSON.stringify(mount.Type ?? "")}`);
    }
  } else {
    if (mount.Type !== "volume") mount.VolumeOptions = undefined;
    if (mount.Type !== "tmpfs") mount.TmpfsOptions = undefined;
    if (BindOptions) BindOptions.CreateMountpoint = undefined;
  }
  if (BindOptions && !atLeast("1.40")) BindOptions.NonRecursive = undefined;
  if (BindOptions?.ReadOnlyForceRecursive && mount.Type === "bind" && !atLeast("1.44"))
    throw refusal("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
  return mount;
}

/** One network at most, and no MAC address but the container's own. */
function networkingOf({ NetworkingConfig }: CreateRequest): CreateRequest["NetworkingConfig"] {
  const all = Object.entries(NetworkingConfig.EndpointsConfig);
  if (all.length > 1) {
    const names = all.map(([name]) => name).join(", ");
    throw refusal(`Container cannot be created with multiple network endpoints: ${names}`);
  }
  return {
    EndpointsConfig: Object.fromEntries(
      all.map(([name, endpoint]) => [name, endpoint && { ...endpoint, MacAddress: "" }]),
    ),
  };
}

function refusal(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
