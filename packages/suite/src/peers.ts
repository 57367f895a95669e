import fs from "node:fs";
import path from "node:path";
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
