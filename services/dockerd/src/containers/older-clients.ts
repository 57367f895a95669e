import { EngineError } from "@longshore/errors";
import type { Asked } from "../http/api-version.ts";
import {
  type CreateRequest,
  DEVICE_LIMITS,
  type EndpointRequest,
  type HostConfig,
} from "./container-config.ts";
import { withEndpointSysctls } from "./interface-sysctls.ts";
import { meantMount, volumeDriverWarnings } from "./meant-mounts.ts";
import { portKey } from "./port-bindings.ts";
import type { UpdateRequest } from "./update-container.ts";

/** A request to create a container, as its client's version of the API has it. */
export interface MeantRequest {
  request: CreateRequest;
  /** Binds that are read-only leave what is mounted below them writable, unless they say otherwise. */
  shallowReadOnly: boolean;
  warnings: string[];
}

export interface MeantBy extends Asked {
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
  const mac = containerMac({ ...asked, HostConfig }, atLeast);
  const { request, warnings } = withEndpointSysctls(
    {
      ...asked,
      HostConfig,
      ExposedPorts: asked.ExposedPorts.map(portKey),
      MacAddress: mac.address,
      Healthcheck: Healthcheck && !atLeast("1.44") ? { ...Healthcheck, StartInterval: 0 } : Healthcheck,
      NetworkingConfig: networkingOf(asked, atLeast),
    },
    atLeast,
  );
  return {
    request,
    shallowReadOnly: !atLeast("1.44"),
    warnings: [
      ...volumeDriverWarnings(HostConfig, atLeast),
      ...mac.warnings,
      ...warnings,
      ...(atLeast("1.52") ? unboundWarnings(asked.HostConfig) : []),
    ],
  };
}

/** The same of what an update asks for. */
export function asMeantUpdate(update: UpdateRequest, { atLeast }: Asked): UpdateRequest {
  const resources = { ...update.resources };
  if (!atLeast("1.40")) resources.PidsLimit = null;
  if (atLeast("1.42")) resources.KernelMemory = undefined;
  if (atLeast("1.52")) resources.KernelMemoryTCP = undefined;
  if (atLeast("1.55")) return { ...update, resources };
  for (const limit of DEVICE_LIMITS) resources[limit] = [];
  return { ...update, resources, cleared: [] };
}

function hostConfigOf(asked: CreateRequest["HostConfig"], { atLeast, isUnified }: MeantBy): HostConfig {
  const { Capabilities, ...rest } = asked;
  // A field of that version alone.
  if (Capabilities?.length && atLeast("1.40") && !atLeast("1.41")) {
    throw refusal(
      "the HostConfig.Capabilities field is not supported by this daemon; use CapAdd and CapDrop to set capabilities",
    );
  }
  const host: HostConfig = {
    ...rest,
    Mounts: rest.Mounts.map((mount) => meantMount(mount, atLeast)),
    PortBindings: withAnyPort(rest.PortBindings),
  };
  // Such a client removes its containers itself.
  if (!atLeast("1.25")) host.AutoRemove = false;
  if (!atLeast("1.40")) host.IpcMode ||= "shareable";
  if (!atLeast("1.40") || atLeast("1.52")) host.KernelMemoryTCP = undefined;
  if (!atLeast("1.41") && !isUnified) host.CgroupnsMode ||= "host";
  if (!atLeast("1.42")) host.ConsoleSize = [0, 0];
  else host.KernelMemory = undefined;
  if (!atLeast("1.43")) host.Annotations = {};
  return host;
}

const isUnbound = (bindings: HostConfig["PortBindings"][string]) => (bindings ?? []).length === 0;

/** A port without a binding is published at any port of the host's. */
function withAnyPort(all: HostConfig["PortBindings"]): HostConfig["PortBindings"] {
  return Object.fromEntries(
    Object.entries(all).map(([port, bindings]) => [
      portKey(port),
      isUnbound(bindings) ? [{ HostIp: "", HostPort: "" }] : bindings,
    ]),
  );
}

function unboundWarnings({ PortBindings }: HostConfig): string[] {
  const ports = Object.keys(PortBindings).filter((port) => isUnbound(PortBindings[port]));
  if (ports.length === 0) return [];
  const shown = ports.map(portKey).join(", ");
  return [
    `Following container port(s) have an empty list of port-bindings: ${shown}. Such bindings will be discarded in a future version.`,
  ];
}

/** The MAC address of a container as a whole: its main network's, of which newer clients know only that. */
function containerMac(
  { MacAddress: address, HostConfig: { NetworkMode } }: CreateRequest,
  atLeast: Asked["atLeast"],
): { address: string; warnings: string[] } {
  if (address === "" || atLeast("1.52")) return { address: "", warnings: [] };
  const hasOwn = NetworkMode !== "host" && NetworkMode !== "none";
  if (atLeast("1.44")) {
    const warning =
      "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";
    return { address: hasOwn ? address : "", warnings: [warning] };
  }
  if (!hasOwn) throw refusal("conflicting options: mac-address and the network mode");
  return { address, warnings: [] };
}

/** Before version 1.44 one network at most, with no MAC address but the container's own; before 1.48 all have the same priority. */
function networkingOf(
  { NetworkingConfig }: CreateRequest,
  atLeast: Asked["atLeast"],
): CreateRequest["NetworkingConfig"] {
  const all = Object.entries(NetworkingConfig.EndpointsConfig);
  if (all.length > 1 && !atLeast("1.44")) {
    const names = all.map(([name]) => name).join(", ");
    throw refusal(`Container cannot be created with multiple network endpoints: ${names}`);
  }
  const meant = (endpoint: EndpointRequest): EndpointRequest => ({
    ...endpoint,
    MacAddress: atLeast("1.44") ? endpoint.MacAddress : "",
    GwPriority: atLeast("1.48") ? endpoint.GwPriority : 0,
  });
  return {
    EndpointsConfig: Object.fromEntries(all.map(([name, endpoint]) => [name, endpoint && meant(endpoint)])),
  };
}

function refusal(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
