import { EngineError } from "@longshore/errors";
import { jsonAny, RESOURCES_TYPE } from "../containerd/any.ts";
import type { Engine } from "../engine.ts";
import { withLifted } from "../spec/block-io.ts";
import { withoutDiscarded } from "../spec/discarded.ts";
import { checkLeastMemory, checkResources, toLinuxResources } from "../spec/resources.ts";
import { cgroupVersion } from "../system/host-facts.ts";
import type { Container } from "./container.ts";
import type { DEVICE_LIMITS, Resources } from "./container-config.ts";
import { emitContainerEvent } from "./container-events.ts";
import { saveRecord } from "./container-record.ts";
import { hasProcess, isLeaving } from "./container-status.ts";
import { refuseUnsupportedUpdate } from "./refuse-unsupported.ts";
import { checkRestartPolicy, type RestartPolicy, restarts } from "./restart-policy.ts";

/** What an update may change. */
const UPDATABLE = [
  "BlkioWeight",
  "BlkioWeightDevice",
  "BlkioDeviceReadBps",
  "BlkioDeviceWriteBps",
  "BlkioDeviceReadIOps",
  "BlkioDeviceWriteIOps",
  "CpuRealtimePeriod",
  "CpuRealtimeRuntime",
  "CpuPeriod",
  "CpuQuota",
  "CpuShares",
  "CpusetCpus",
  "CpusetMems",
  "Memory",
  "MemoryReservation",
  "MemorySwap",
  "NanoCpus",
  "PidsLimit",
] as const;

/** Limits of which there is only one or the other. */
const EXCLUSIVE = [
  ["NanoCpus", "CpuPeriod", "Nano CPUs cannot be updated as CPU Period"],
  ["NanoCpus", "CpuQuota", "Nano CPUs cannot be updated as CPU Quota"],
  ["CpuPeriod", "NanoCpus", "CPU Period cannot be updated as NanoCPUs"],
  ["CpuQuota", "NanoCpus", "CPU Quota cannot be updated as NanoCPUs"],
] as const;

export interface UpdateRequest {
  resources: Resources;
  /** Limits of devices that are to be taken away. */
  cleared: readonly (typeof DEVICE_LIMITS)[number][];
  restartPolicy: RestartPolicy;
}

/**
 * Change a container's limits, those of its running task too. Fields with Docker's zero value stay as they are.
 * @throws EngineError `invalid_argument` for limits that make no sense or aren't supported
 */
export function updateContainer(
  engine: Engine,
  container: Container,
  { resources, cleared, restartPolicy }: UpdateRequest,
): Promise<{ warnings: string[] }> {
  return container.lock.run(async () => {
    checkRestartPolicy(restartPolicy);
    refuseUnsupportedUpdate(resources);
    checkLeastMemory(resources);
    const { warnings } = withoutDiscarded(resources);
    await engine.store.check();
    const { hostConfig, state } = container.record;
    if (isLeaving(state.status))
      throw cannotUpdate(container, 'container is marked for removal and cannot be "update"');
    const given = UPDATABLE.filter(
      (field) => isGiven(field, resources[field]) || cleared.some((one) => one === field),
    );
    const changes = Object.fromEntries(given.map((field) => [field, resources[field]]));
    if (resources.PidsLimit !== null) changes.PidsLimit = Math.max(resources.PidsLimit, 0);
    for (const [one, other, told] of EXCLUSIVE) {
      if (resources[one] > 0 && hostConfig[other] > 0)
        throw cannotUpdate(container, `Conflicting options: ${told} has already been set`);
    }
    // Docker doesn't tell a limit of swap that follows from that of memory from one that was asked for.
    if (resources.Memory > hostConfig.MemorySwap && resources.Memory > 0 && resources.MemorySwap === 0) {
      throw cannotUpdate(
        container,
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
      );
    }
    if (hostConfig.AutoRemove && restarts(restartPolicy))
      throw cannotUpdate(
        container,
        "Restart policy cannot be updated because AutoRemove is enabled for the container",
      );
    const updated = {
      ...hostConfig,
      ...checkResources({ ...hostConfig, ...changes }),
      ...(restartPolicy.Name !== "" && { RestartPolicy: restartPolicy }),
    };
    if (Object.keys(changes).length > 0 && hasProcess(state.status)) {
      await engine.containerd.tasks.update({
        containerId: container.id,
        resources: jsonAny(
          RESOURCES_TYPE,
          toLinuxResources(withLifted(hostConfig, updated, cgroupVersion() === "2")),
        ),
        annotations: {},
      });
    }
    container.record = { ...container.record, hostConfig: updated };
    await saveRecord(engine, container);
    emitContainerEvent(engine, container, "update");
    return { warnings };
  });
}

function cannotUpdate({ id }: Container, why: string): EngineError {
  return new EngineError("conflict", `Cannot update container ${id}: ${why}`);
}

/** Docker's zero values leave a limit as it is; of processes it means none. */
function isGiven(field: (typeof UPDATABLE)[number], value: unknown): boolean {
  if (field === "PidsLimit") return value !== null;
  return Array.isArray(value) ? value.length > 0 : value !== "" && value !== 0 && value !== null;
}
