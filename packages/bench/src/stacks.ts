import fs from "node:fs";
import path from "node:path";
import {
  type Component,
  cgroupFlags,
  findExecutable,
  type ImageServer,
  realContainerd,
  realDockerd,
  type Suite,
  startSuite,
} from "@longshore/suite";
import { timed } from "./command.ts";
import type { Contender } from "./measure.ts";

/** A running engine with the client it is measured with. */
export interface Stack {
  readonly contender: Contender;
  readonly suite: Suite;
  readonly docker: string;
  /** For the client. */
  readonly env: Record<string, string>;
  readonly image: string;
}

const SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Ours, in a directory of its own. */
export function startOurs(options: { dir: string; binDir: string; cgroupParent: string }): Promise<Suite> {
  const { dir, binDir, cgroupParent } = options;
  const bridge = { name: "lsbench0", cidr: "10.201.0.1/16" };
  return startSuite({ dir, binDir, bridge, cgroupParent });
}

/** The distribution's dockerd and containerd as they come: firewall rules, proxy, their own bridge. Undefined without them. */
export async function startReal(options: {
  dir: string;
  binDir: string;
  cgroupParent: string;
}): Promise<Suite | undefined> {
  const { dir, binDir, cgroupParent } = options;
  const containerd = realContainerd();
  const dockerd = realDockerd();
  if (!containerd || !dockerd) return undefined;
  const asUsual: Component = {
    ...dockerd,
    args: (paths) => [
      ...["--config-file", emptyConfig(paths.run)],
      ...["-H", `unix://${paths.dockerSocket}`],
      ...["--data-root", paths.dockerdRoot],
      ...["--exec-root", paths.dockerdExecRoot],
      ...["--containerd", paths.containerdSocket],
      ...["--pidfile", path.join(paths.run, "dockerd.pid")],
      ...["--storage-driver", "overlay2"],
      ...["--bip", "10.202.0.1/16"],
      ...cgroupFlags(cgroupParent),
    ],
    env: { PATH: SYSTEM_PATH },
  };
  return startSuite({
    ...{ dir, binDir, cgroupParent },
    components: { containerd, dockerd: asUsual },
    without: ["registry-client", "nats-server"],
  });
}

function emptyConfig(dir: string): string {
  const file = path.join(dir, "dockerd.json");
  fs.writeFileSync(file, "{}\n");
  return file;
}

/** The client that comes with the real daemon; any other real one where that is missing. */
export function realClient(): string | undefined {
  return ["/usr/bin/docker", findExecutable("docker")].find(
    (file) => file !== undefined && fs.existsSync(file),
  );
}

/** One stack for each engine. */
export function byEngine(stacks: readonly Stack[]): Stack[] {
  return stacks.filter(
    ({ suite }, position) => stacks.findIndex((other) => other.suite === suite) === position,
  );
}

/** Clients and images for what has been started: each engine by a real client, ours also by its own. */
export async function prepareStacks(options: {
  ours: Suite;
  real: Suite | undefined;
  images: ImageServer;
  dir: string;
}): Promise<Stack[]> {
  const { ours, real, images, dir } = options;
  const config = path.join(dir, "client");
  fs.mkdirSync(config);
  const image = `${images.host}/busybox:bench`;
  const stack = (contender: Contender, suite: Suite, docker: string): Stack => {
    const env = { DOCKER_HOST: suite.dockerHost, DOCKER_CONFIG: config, DOCKER_CLI_HINTS: "false" };
    return { contender, suite, docker, env, image };
  };
  const own = path.join(ours.binDir, "docker");
  const client = realClient();
  const stacks: Stack[] = client
    ? [stack("ours", ours, client), stack("ours, own CLI", ours, own)]
    : [stack("ours", ours, own)];
  if (client && real) stacks.push(stack("real", real, client));
  for (const { docker, env } of byEngine(stacks)) await timed([docker, "pull", "--quiet", image], { env });
  return stacks;
}
