import type { ContainerRecord } from "../containers/container.ts";
import type { ContainerIndex } from "../containers/container-index.ts";
import { isRunning } from "../containers/container-status.ts";
import { volumesOf } from "./mount-point.ts";

/** Ids of the containers that have a volume mounted, whether they run or not. */
export function containersWith(containers: ContainerIndex, name: string): string[] {
  const has = ({ mounts }: ContainerRecord) =>
    mounts.some((point) => point.type === "volume" && point.name === name);
  return containers.list().flatMap(({ id, record }) => (has(record) ? [id] : []));
}

/** The containers that run, and the volumes of each. */
export function runningVolumes(containers: ContainerIndex): Map<string, string[]> {
  const running = containers.list().filter(({ record }) => isRunning(record.state.status));
  return new Map(running.map(({ id, record }) => [id, volumesOf(record)]));
}
