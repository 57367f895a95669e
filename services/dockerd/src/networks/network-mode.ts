import type { Container, ContainerRecord } from "../containers/container.ts";
import type { Engine } from "../engine.ts";
import type { Asked } from "../http/api-version.ts";

/** Before the container whose network is shared. */
export const JOINED = "container:";
/** Modes that mean no networks of the container's own. */
export const WITHOUT = ["none", "host"];
export const PREDEFINED = ["bridge", ...WITHOUT];

/** The container whose network a mode means; undefined for other modes. @throws EngineError `not_found` */
export function joinedContainer(engine: Engine, mode: string): Container | undefined {
  return mode.startsWith(JOINED) ? engine.containers.find(mode.slice(JOINED.length)) : undefined;
}

/** The network that a mode means. */
export function networkName({ hostConfig: { NetworkMode } }: Pick<ContainerRecord, "hostConfig">): string {
  return NetworkMode === "default" ? "bridge" : NetworkMode;
}

/** A container's mode as it is shown: from version 1.45 of the API on the default network has its name. */
export function shownMode(mode: string, { atLeast }: Asked): string {
  return mode === "default" && atLeast("1.45") ? "bridge" : mode;
}

/** Whether a container is on the network that leads nowhere, so that it can be on no other. */
export function isOnNone({
  hostConfig,
  isOffNone,
}: Pick<ContainerRecord, "hostConfig" | "isOffNone">): boolean {
  return hostConfig.NetworkMode === "none" && isOffNone !== true;
}
