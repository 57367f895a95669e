import path from "node:path";
import type { ContainerRecord } from "../containers/container.ts";
import { containerDir, type Engine } from "../engine.ts";
import { joinedContainer } from "./network-mode.ts";

/** Files of this daemon that appear in a container's /etc; with another one's network they are that one's. */
export function etcFiles(engine: Engine, { id, hostConfig }: ContainerRecord) {
  const owner = joinedContainer(engine, hostConfig.NetworkMode)?.id ?? id;
  const directory = containerDir(engine, owner);
  return {
    hosts: path.join(directory, "hosts"),
    hostname: path.join(directory, "hostname"),
    resolvConf: path.join(directory, "resolv.conf"),
  };
}

/** The text of a container's hosts file, with what was asked for in addition. */
export function hostsFile(text: string, { hostConfig }: ContainerRecord): string {
  const extra = hostConfig.ExtraHosts.map((entry) => {
    const at = entry.indexOf(":");
    return `${entry.slice(at + 1)}\t${entry.slice(0, at)}\n`;
  });
  return text + extra.join("");
}
