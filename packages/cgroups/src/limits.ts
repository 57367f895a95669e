import { EngineError } from "@longshore/errors";
import type { DeviceRule, Resources } from "@longshore/oci";
import { readTextIfExists } from "@longshore/syscalls";
import { applyDeviceRules } from "./device-program.ts";
import { devicePolicy, devicesWrites } from "./device-rules.ts";
import type { Group } from "./group.ts";
import { settingsV1, settingsV2 } from "./settings.ts";
import { ControlFiles, writeError, writeSettings } from "./write-settings.ts";

/**
 * Bring limits about; what isn't mentioned stays as it is.
 *
 * @returns what was asked for and is left alone, in words for the log
 * @throws EngineError in the original's words: for a limit whose controller the machine hasn't, or one that the kernel refuses
 */
export function applyResources(group: Group, resources: Resources): string[] {
  const plan = inWords(() => (group.unified ? settingsV2(resources) : settingsV1(resources)));
  const unified = Object.entries(resources.unified ?? {});
  if (!group.unified && unified.length > 0) {
    throw new EngineError("invalid_argument", "invalid configuration: cannot use unified on cgroup v1");
  }
  const devices = resources.devices ?? [];
  if (!group.unified && devices.length > 0) applyDevicesV1(group, devices);
  if (group.unified) checkMemoryUse(group, resources);
  writeSettings(plan.settings, (controller) => group.pathOf(controller));
  if (group.unified && devices.length > 0) {
    inWords(() => applyDeviceRules(group.unifiedPath ?? "", devices));
  }
  if (group.unified) writeUnified(group, unified);
  return plan.warnings;
}

/** What is wrong with the numbers, as a wrong argument. */
function inWords<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new EngineError("invalid_argument", error.message, { cause: error });
  }
}

function applyDevicesV1(group: Group, rules: readonly DeviceRule[]): void {
  const directory = group.pathOf("devices");
  if (directory === undefined) throw new EngineError("unimplemented", "mountpoint for devices not found");
  using files = new ControlFiles();
  for (const [file, value] of inWords(() => devicesWrites(devicePolicy(rules)))) {
    const path = `${directory}/${file}`;
    try {
      files.write(path, value);
    } catch (error) {
      throw writeError(path, value, error);
    }
  }
}

/** v1's kernel refuses a limit below what is in use; v2's kills, unless we look first. */
function checkMemoryUse(group: Group, { memory }: Resources): void {
  if (!memory?.checkBeforeUpdate) return;
  const usage = Number(readTextIfExists(`${group.unifiedPath}/memory.current`) ?? Number.NaN);
  const refuse = (what: string, limit: number | undefined) => {
    if (limit !== undefined && limit > 0 && limit <= usage) {
      throw new EngineError("failed_precondition", `rejecting ${what} limit ${limit} <= usage ${usage}`);
    }
  };
  refuse("memory+swap", memory.swap);
  refuse("memory", memory.limit);
}

/** Files of v2 by their own names. A value of several lines is several writes. */
function writeUnified(group: Group, entries: readonly [file: string, value: string][]): void {
  const path = group.unifiedPath ?? "";
  using files = new ControlFiles();
  for (const [file, value] of entries) {
    if (file.includes("/")) {
      throw new EngineError(
        "invalid_argument",
        `unified resource ${JSON.stringify(file)} must be a file name (no slashes)`,
      );
    }
    try {
      for (const line of value.split("\n"))
        if (line !== "" || value === "") files.write(`${path}/${file}`, line);
    } catch (error) {
      throw unifiedError(path, file, value, error);
    }
  }
}

function unifiedError(path: string, file: string, value: string, error: unknown): EngineError {
  const name = JSON.stringify(file);
  const code = error instanceof Error && "code" in error ? error.code : "";
  if (code === "ENOENT" || code === "EPERM" || code === "EACCES") {
    const dot = file.indexOf(".");
    if (dot < 0) {
      return new EngineError(
        "invalid_argument",
        `unified resource ${name} must be in the form CONTROLLER.PARAMETER`,
        { cause: error },
      );
    }
    const controller = file.slice(0, dot);
    const available = readTextIfExists(`${path}/cgroup.controllers`)?.trim().split(" ") ?? [];
    if (controller !== "cgroup" && !available.includes(controller)) {
      const message = `unified resource ${name} can't be set: controller ${JSON.stringify(controller)} not available`;
      return new EngineError("unimplemented", message, { cause: error });
    }
  }
  const why = writeError(`${path}/${file}`, value, error);
  return new EngineError(why.code, `unable to set unified resource ${name}: ${why.message}`, {
    cause: error,
  });
}
