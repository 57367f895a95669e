import { applyResources, type Group, planGroup } from "@longshore/cgroups";
import { EngineError, isErrno } from "@longshore/errors";
import type { Resources, Spec } from "@longshore/oci";
import { isAlive, readTextIfExists } from "@longshore/syscalls";
import { deviceRules } from "./devices.ts";
import { systemd } from "./load.ts";
import { log } from "./log.ts";
import { mayGoWithoutGroups } from "./rootless.ts";

/** The cgroup of a container that is being made. */
export interface ContainerGroup {
  group: Group;
  /** What can be done before there is a process. */
  make(): void;
  /** The rest, once there is one. */
  enter(pid: number): void;
  /**
   * Limits of memory, once the process is a program of its own. Until then it shares runc's memory: where it runs out, the kernel would
   * kill whoever uses it, and so runc.
   *
   * @throws EngineError when the process is killed for it
   */
  limitMemory(pid: number): void;
}

/** Where the cgroup will be and what is to be done for it; nothing is done yet. */
export function planContainerGroup(
  spec: Spec,
  { id, throughSystemd }: { id: string; throughSystemd: boolean },
): ContainerGroup {
  const { memory, ...others } = spec.linux?.resources ?? {};
  const resources: Resources = { ...others, devices: deviceRules(spec) };
  const limit = (group: Group, limits = resources) => {
    try {
      for (const words of applyResources(group, limits)) log("warning", words);
    } catch (error) {
      // What is wrong by itself the original finds before it starts anything.
      if (!(error instanceof EngineError) || error.code === "invalid_argument") throw error;
      const stage =
        "unable to start container process: error during container init: error setting cgroup config for procHooks process";
      throw new EngineError(error.code, `${stage}: ${error.message}`, { cause: error });
    }
  };
  const limitMemory = (group: Group, pid: number) => {
    if (!memory) return;
    // A group that was there before may have seen kills.
    const before = killsForMemory(group);
    if (group.unit !== undefined) systemd().setUnitLimits(group, { memory });
    limit(group, { memory });
    // v1 refuses what is less than is in use already; v2 sees to it that less is in use.
    if (!group.unified || (isAlive(pid) && killsForMemory(group) === before)) return;
    const words = "container init was OOM-killed (memory limit too low?)";
    throw new EngineError("failed_precondition", `unable to start container process: ${words}`);
  };
  if (!throughSystemd) {
    const { group, make } = planGroup(spec.linux?.cgroupsPath || id);
    const makeLimited = () => {
      try {
        make();
      } catch (error) {
        // A user has seldom a right to groups: without a wish for a certain one there is none.
        if (!mayGoWithoutGroups() || spec.linux?.cgroupsPath || !isErrno(error, "EACCES", "EPERM", "EROFS"))
          throw error;
        group.directories.length = 0;
        return;
      }
      limit(group);
    };
    return {
      group,
      make: makeLimited,
      enter: () => undefined,
      limitMemory: (pid) => limitMemory(group, pid),
    };
  }
  const { annotatedProperties, parseUnit, requireSystemd, setUnitLimits, startUnit, unitGroup } = systemd();
  requireSystemd();
  const unit = parseUnit(spec.linux?.cgroupsPath, id);
  const properties = annotatedProperties(spec.annotations ?? {});
  const group = unitGroup(unit);
  // systemd makes no scope without a process in it.
  const enter = (pid: number) => {
    startUnit(group, { unit, pid, unified: group.unified, properties });
    setUnitLimits(group, resources);
    limit(group);
  };
  return { group, make: () => undefined, enter, limitMemory: (pid) => limitMemory(group, pid) };
}

/** How often v2's kernel has killed for want of memory; who was killed may take a moment to go. */
function killsForMemory({ unified, unifiedPath }: Group): number {
  const events = unified ? readTextIfExists(`${unifiedPath}/memory.events`) : undefined;
  return Number(/^oom_kill (\d+)/m.exec(events ?? "")?.[1] ?? 0);
}
