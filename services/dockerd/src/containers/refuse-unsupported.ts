import { EngineError } from "@longshore/errors";
import type { CreateRequest, HostConfig, Resources } from "./container-config.ts";

type Checks<T> = Record<string, (value: T) => boolean>;

/** Resource fields of other systems; true means that the client asked for them. */
const RESOURCES: Checks<Resources> = {
  CpuCount: (r) => r.CpuCount !== 0,
  CpuPercent: (r) => r.CpuPercent !== 0,
};

const HOST: Checks<HostConfig> = {
  Cgroup: (h) => h.Cgroup !== "",
};

/**
 * Refuse what a client asks for and this daemon doesn't do, by the field's name; nothing is accepted and ignored.
 * @throws EngineError `invalid_argument`
 */
export function refuseUnsupported(request: CreateRequest): void {
  refuseQos(request.HostConfig);
  refuse("HostConfig", RESOURCES, request.HostConfig);
  refuse("HostConfig", HOST, request.HostConfig);
  const { Isolation, StorageOpt } = request.HostConfig;
  if (!["", "default"].includes(Isolation.toLowerCase())) {
    throw new EngineError(
      "invalid_argument",
      `invalid isolation (${Isolation}): linux only supports 'default'`,
    );
  }
  if (Object.keys(StorageOpt).length > 0) {
    throw new EngineError(
      "invalid_argument",
      "HostConfig.StorageOpt: --storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    );
  }
}

/** The same for the body of an update. */
export function refuseUnsupportedUpdate(resources: Resources): void {
  if (resources.IOMaximumBandwidth !== 0 || resources.IOMaximumIOps !== 0) {
    throw new EngineError(
      "invalid_argument",
      "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
    );
  }
  refuse("update", { ...RESOURCES, ...UPDATE }, resources);
}

function refuseQos({ IOMaximumBandwidth, IOMaximumIOps }: Resources): void {
  const what = IOMaximumBandwidth !== 0 ? "bandwidth" : IOMaximumIOps !== 0 ? "IOPs" : undefined;
  if (what === undefined) return;
  throw new EngineError(
    "invalid_argument",
    `invalid option: QoS maximum ${what} configuration is not supported on linux`,
  );
}

const UPDATE: Checks<Resources> = {
  CgroupParent: (r) => r.CgroupParent !== "",
  DeviceRequests: (r) => r.DeviceRequests.length > 0,
  MemorySwappiness: (r) => r.MemorySwappiness !== -1,
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
