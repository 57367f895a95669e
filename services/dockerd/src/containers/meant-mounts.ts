import { EngineError } from "@longshore/errors";
import type { MountRequest } from "../volumes/mount-request.ts";
import type { HostConfig } from "./container-config.ts";

type AtLeast = (version: string) => boolean;

/** Options that go with one type of mount. */
const TYPE_OF = { VolumeOptions: "volume", BindOptions: "bind", TmpfsOptions: "tmpfs" } as const;

/**
 * A mount as a client of some version of the API means it.
 * @throws EngineError `invalid_argument` in Docker's words for what only newer versions have
 */
export function meantMount(asked: MountRequest, atLeast: AtLeast): MountRequest {
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
  if (mount.VolumeOptions?.Subpath && !atLeast("1.45"))
    throw refusal("VolumeOptions.Subpath needs API v1.45 or newer");
  if (mount.Type === "image" && !atLeast("1.48"))
    throw refusal('Mount type "Image" needs API v1.48 or newer');
  return mount;
}

/** What the client should know of a volume driver that its mounts don't follow; those of before 1.48 say it themselves. */
export function volumeDriverWarnings({ VolumeDriver, Mounts }: HostConfig, atLeast: AtLeast): string[] {
  if (VolumeDriver === "" || !atLeast("1.48")) return [];
  const isLeftOut = ({ Type, VolumeOptions }: MountRequest) =>
    Type === "volume" && !VolumeOptions?.DriverConfig?.Name;
  if (!Mounts.some(isLeftOut)) return [];
  return [
    "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead",
  ];
}

function refusal(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
