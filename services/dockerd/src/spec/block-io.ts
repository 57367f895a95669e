import fs from "node:fs";
import { EngineError, isErrno } from "@longshore/errors";
import type { BlockIo, ThrottleDevice, WeightDevice } from "@longshore/oci";
import type { Resources } from "../containers/container-config.ts";
import { majorOf, minorOf } from "./device-number.ts";

const WEIGHT_RANGE = { least: 10, most: 1000 };

/** @throws EngineError `invalid_argument` in Docker's words for weights out of their range, by the field's name for the rest */
export function checkBlockIo(resources: Resources): void {
  checkWeight(resources.BlkioWeight, "Range of blkio weight is from 10 to 1000");
  for (const { Path, Weight } of resources.BlkioWeightDevice) {
    checkPath("BlkioWeightDevice", Path);
    checkWeight(Weight, `Range of blkio weight is from 10 to 1000: ${Path}`);
  }
  for (const field of THROTTLES) {
    for (const { Path, Rate } of resources[field]) {
      checkPath(field, Path);
      if (Rate < 0) throw invalid(`HostConfig.${field}: ${Path}: the rate must not be negative`);
    }
  }
}

/**
 * Limits that take those of devices away which only the old ones have.
 * @param isUnified whether the limits are those of cgroups of version 2, which have another word for none
 */
export function withLifted(before: Resources, after: Resources, isUnified: boolean): Resources {
  const gone = <T extends { Path: string }>(old: readonly T[], now: readonly T[]) =>
    old.filter(({ Path }) => !now.some((one) => one.Path === Path));
  const lifted = { ...after };
  for (const field of THROTTLES) {
    const none = gone(before[field], after[field]).map(({ Path }) => ({
      Path,
      Rate: isUnified ? UNIFIED_NO_RATE : 0,
    }));
    lifted[field] = [...none, ...after[field]];
  }
  const weights = gone(before.BlkioWeightDevice, after.BlkioWeightDevice).map(({ Path }) => ({
    Path,
    Weight: isUnified ? UNIFIED_WEIGHT : 0,
  }));
  return { ...lifted, BlkioWeightDevice: [...weights, ...after.BlkioWeightDevice] };
}

/** No limit, in a number that the runtime's 64 bits hold. */
const UNIFIED_NO_RATE = 2 ** 63;
/** The usual one. */
const UNIFIED_WEIGHT = 100;

const THROTTLES = [
  "BlkioDeviceReadBps",
  "BlkioDeviceWriteBps",
  "BlkioDeviceReadIOps",
  "BlkioDeviceWriteIOps",
] as const;

/**
 * What is asked for of block devices, by their numbers; undefined when nothing is.
 * @throws EngineError `invalid_argument` for a path that is no block device, as it is at this moment
 */
export function blockIoOf(resources: Resources): BlockIo | undefined {
  const throttle = (field: (typeof THROTTLES)[number]): ThrottleDevice[] =>
    resources[field].map(({ Path, Rate }) => ({ ...deviceNumber(field, Path), rate: Rate }));
  const weightDevice = resources.BlkioWeightDevice.map(
    ({ Path, Weight }): WeightDevice => ({ ...deviceNumber("BlkioWeightDevice", Path), weight: Weight }),
  );
  const blockIo: BlockIo = {
    ...(resources.BlkioWeight !== 0 && { weight: resources.BlkioWeight }),
    ...unlessEmpty("weightDevice", weightDevice),
    ...unlessEmpty("throttleReadBpsDevice", throttle("BlkioDeviceReadBps")),
    ...unlessEmpty("throttleWriteBpsDevice", throttle("BlkioDeviceWriteBps")),
    ...unlessEmpty("throttleReadIOPSDevice", throttle("BlkioDeviceReadIOps")),
    ...unlessEmpty("throttleWriteIOPSDevice", throttle("BlkioDeviceWriteIOps")),
  };
  return Object.keys(blockIo).length > 0 ? blockIo : undefined;
}

function unlessEmpty<K extends keyof BlockIo>(name: K, list: NonNullable<BlockIo[K]>): Pick<BlockIo, K> {
  return (Array.isArray(list) && list.length > 0 ? { [name]: list } : {}) as Pick<BlockIo, K>;
}

function deviceNumber(field: string, file: string): { major: number; minor: number } {
  try {
    const stat = fs.statSync(file);
    if (stat.isBlockDevice()) return { major: majorOf(stat.rdev), minor: minorOf(stat.rdev) };
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) throw invalid(`stat ${file}: no such file or directory`);
    throw error;
  }
  throw invalid(`HostConfig.${field}: ${file} is not a block device`);
}

function checkPath(field: string, file: string): void {
  if (!file.startsWith("/"))
    throw invalid(`HostConfig.${field}: ${JSON.stringify(file)} is not an absolute path`);
}

function checkWeight(weight: number, message: string): void {
  if (weight !== 0 && (weight < WEIGHT_RANGE.least || weight > WEIGHT_RANGE.most)) throw invalid(message);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
