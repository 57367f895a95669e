import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { cgroupFlags } from "./cgroup-flags.ts";
import { findExecutable } from "./executables.ts";
import type { Component } from "./suite.ts";

/**
 * The distribution's containerd in place of ours, in the suite's own directories; undefined when it isn't installed.
 *
 * @param shimDir where it shall find its shim and runtime first; the system's when left out
 * @param file another one than the distribution's
 */
export function realContainerd(
  shimDir?: string,
  file: string | undefined = findExecutable("containerd"),
): Component | undefined {
  if (!file) return undefined;
  return {
    path: file,
    args: (paths) => {
      const config = path.join(paths.run, "containerd.toml");
      fs.writeFileSync(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
      return [
        ...["--config", config],
        ...["--address", paths.containerdSocket],
        ...["--root", paths.containerdRoot],
        ...["--state", paths.containerdState],
      ];
    },
    env: { PATH: [...(shimDir ? [shimDir] : []), "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"].join(":") },
  };
}

/** The release of the containerd that is installed, such as `1.6`. */
export function realContainerdRelease(): string | undefined {
  const file = findExecutable("containerd");
  if (!file) return undefined;
  const { stdout } = spawnSync(file, ["--version"], { encoding: "utf8" });
  return / v?(\d+\.\d+)\.\d+/.exec(stdout ?? "")?.[1];
}

/** Keeps a dockerd from reading this machine's own `/etc/docker/daemon.json`. */
function emptyConfig(dir: string): string {
  const file = path.join(dir, "dockerd.json");
  fs.writeFileSync(file, "{}\n");
  return file;
}

/** How a real dockerd keeps images and layers: by its own `overlay2` driver, or in containerd. */
export type RealStore = "overlay2" | "containerd";

const STORE_FLAGS: Record<RealStore, string[]> = {
  overlay2: ["--storage-driver", "overlay2"],
  containerd: ["--feature", "containerd-snapshotter=true"],
};

/**
 * The distribution's dockerd in place of ours, on the suite's containerd; undefined when it isn't installed. It pulls by itself, so it
 * needs no registry-client, and its bridge must exist before it starts.
 *
 * @param file another one than the distribution's
 */
export function realDockerd(
  file: string | undefined = installedDockerd(),
  store: RealStore = "overlay2",
): Component | undefined {
  if (!file) return undefined;
  return {
    path: file,
    args: (paths, { bridge, cgroupParent }) => [
      ...["--config-file", emptyConfig(paths.run)],
      ...["-H", `unix://${paths.dockerSocket}`],
      ...["--data-root", paths.dockerdRoot],
      ...["--exec-root", paths.dockerdExecRoot],
      ...["--containerd", paths.containerdSocket],
      ...["--pidfile", path.join(paths.run, "dockerd.pid")],
      ...STORE_FLAGS[store],
      "--live-restore",
      ...["--userland-proxy=false", "--iptables=false", "--ip6tables=false"],
      ...(bridge ? ["--bridge", bridge.name] : []),
      ...cgroupFlags(cgroupParent),
    ],
  };
}

/** Not findExecutable's first hit: that may be ours, on a PATH that a user of ours has set. */
function installedDockerd(): string | undefined {
  return ["/usr/sbin/dockerd", "/usr/bin/dockerd"].find((name) => fs.existsSync(name));
}
