import { EngineError } from "@longshore/errors";
import type { CreateRequest, HostConfig, Resources } from "./container-config.ts";

type Checks<T> = Record<string, (value: T) => boolean>;

/** Resource fields that aren't carried out; true means that the client asked for them. */
const RESOURCES: Checks<Resources> = {
  CgroupParent: (r) => r.CgroupParent !== "",
  BlkioWeightDevice: (r) => r.BlkioWeightDevice.length > 0,
  CpuRealtimePeriod: (r) => r.CpuRealtimePeriod !== 0,
  CpuRealtimeRuntime: (r) => r.CpuRealtimeRuntime !== 0,
  DeviceRequests: (r) => r.DeviceRequests.length > 0,
  BlkioDeviceReadBps: (r) => r.BlkioDeviceReadBps.length > 0,
  BlkioDeviceWriteBps: (r) => r.BlkioDeviceWriteBps.length > 0,
  BlkioDeviceReadIOps: (r) => r.BlkioDeviceReadIOps.length > 0,
  BlkioDeviceWriteIOps: (r) => r.BlkioDeviceWriteIOps.length > 0,
  CpuCount: (r) => r.CpuCount !== 0,
  CpuPercent: (r) => r.CpuPercent !== 0,
  IOMaximumIOps: (r) => r.IOMaximumIOps !== 0,
  IOMaximumBandwidth: (r) => r.IOMaximumBandwidth !== 0,
};

const HOST: Checks<HostConfig> = {
  Cgroup: (h) => h.Cgroup !== "",
  Links: (h) => h.Links.length > 0,
  StorageOpt: (h) => Object.keys(h.StorageOpt).length > 0,
  UsernsMode: (h) => !["", "host"].includes(h.UsernsMode),
  Isolation: (h) => !["", "default"].includes(h.Isolation),
};

/**
 * Refuse what a client asks for and this daemon doesn't do, by the field's name; nothing is accepted and ignored.
 * @throws EngineError `invalid_argument`
 */
export function refuseUnsupported(request: CreateRequest): void {
  refuse("HostConfig", RESOURCES, request.HostConfig);
  refuse("HostConfig", HOST, request.HostConfig);
}

/** The same for the body of an update. */
export function refuseUnsupportedUpdate(resources: Resources): void {
  refuse("update", { ...RESOURCES, ...UPDATE }, resources);
}

const UPDATE: Checks<Resources> = {
  Init: (r) => r.Init !== null,
  Devices: (r) => r.Devices.length > 0,
  DeviceCgroupRules: (r) => r.DeviceCgroupRules.length > 0,
  Ulimits: (r) => r.Ulimits.length > 0,
  OomKillDisable: (r) => r.OomKillDisable,
};

function refuse<T>(where: string, checks: Checks<T>, value: T): void {
  for (const [field, isSet] of Object.entries(checks)) {
    if (isSet(value)) throw new EngineError("invalid_argument", `${where}.${field} is not supported`);
  }
}
