import type { ContainerRecord } from "./container.ts";

const JOINED = "container:";

/** Names or ids of the containers that must run before this one can be started: whose namespaces it joins, and that it has links to. */
export function dependenciesOf({ hostConfig, links = [] }: ContainerRecord): string[] {
  const { NetworkMode, PidMode, IpcMode } = hostConfig;
  const joined = [NetworkMode, PidMode, IpcMode].flatMap((mode) =>
    mode.startsWith(JOINED) ? mode.slice(JOINED.length) : [],
  );
  const linked = links.map(({ target }) => target);
  return [...new Set([...joined, ...linked])];
}
