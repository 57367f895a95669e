import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, type RealStore, realContainerd, realDockerd } from "@longshore/suite";
import { anyReal, skipped, type WorldOptions } from "./world.ts";

/** The version of Docker that ours is compared with word by word: what others say differs from release to release. */
const COMPARED = "20.10";
/** The newest version of the API that it serves. */
export const REFERENCE_API_VERSION = "1.41";

const [dockerd, containerd] = [realDockerd(), realContainerd()];

/** A world of the machine's real daemons. */
export const reference: WorldOptions = {
  components: { ...(dockerd && { dockerd }), ...(containerd && { containerd }) },
  without: ["registry-client"],
  bridgeFirst: true,
  // It takes the files of network namespaces away a minute later, and keeps its data directory mounted on itself.
  ignoreLeaks: /\/run\/dockerd\/netns\/|\/lib\/dockerd$/,
};

const NEWEST = "LONGSHORE_TEST_NEWEST_DOCKERD";

/**
 * A world of the newest real dockerd, which LONGSHORE_TEST_NEWEST_DOCKERD names, with the containerd, shim and runc that lie beside it
 * or are installed; undefined without one, which is told to the test driver.
 */
export function newestReference(what: string, store: RealStore): WorldOptions | undefined {
  const file = process.env[NEWEST];
  if (!file || !anyReal) {
    skipped(`${what}: ${file ? "no real docker client is installed" : `${NEWEST} names no dockerd`}`);
    return undefined;
  }
  const dir = path.dirname(file);
  const beside = path.join(dir, "containerd");
  const containerd = realContainerd(dir, fs.existsSync(beside) ? beside : findExecutable("containerd"));
  const dockerd = realDockerd(file, store);
  if (!dockerd || !containerd) throw new Error(`there is no containerd for ${file}`);
  // Without that it refuses old clients.
  const env = { ...containerd.env, DOCKER_MIN_API_VERSION: "1.24" };
  return { ...reference, components: { containerd, dockerd: { ...dockerd, env } } };
}

/** Whether this machine has the real daemons to compare with; why not is told to the test driver. */
export function hasReference(what: string): boolean {
  const reason = missing();
  if (reason !== undefined) skipped(`${what}: ${reason}`);
  return reason === undefined;
}

function missing(): string | undefined {
  if (!dockerd || !containerd || !anyReal)
    return "no real dockerd with its containerd and client is installed";
  const { stdout } = spawnSync(dockerd.path ?? "", ["--version"], { encoding: "utf8" });
  const version = /version (\d+\.\d+)/.exec(stdout ?? "")?.[1] ?? "of no known version";
  return version === COMPARED ? undefined : `the real dockerd is ${version}, not ${COMPARED}`;
}
