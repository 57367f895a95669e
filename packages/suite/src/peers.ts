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
 */
export function realContainerd(shimDir?: string): Component | undefined {
  const file = findExecutable("containerd");
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

/**
 * The distribution's dockerd in place of ours, on the suite's containerd; undefined when it isn't installed. It pulls by itself, so it
 * needs no registry-client, and its bridge must exist before it starts.
 */
export function realDockerd(): Component | undefined {
  // Not findExecutable's first hit: that may be ours, on a PATH that a user of ours has set.
  const file = ["/usr/sbin/dockerd", "/usr/bin/dockerd"].find((name) => fs.existsSync(name));
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
      ...["--storage-driver", "overlay2", "--live-restore"],
      ...["--userland-proxy=false", "--iptables=false", "--ip6tables=false"],
      ...(bridge ? ["--bridge", bridge.name] : []),
      ...cgroupFlags(cgroupParent),
    ],
  };
}
