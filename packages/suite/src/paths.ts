import path from "node:path";

/** Where one suite keeps everything; two suites with different paths don't meet. */
export interface SuitePaths {
  /** Sockets and what else a reboot may lose. */
  run: string;
  /** State. */
  lib: string;
  /** The Engine API's socket. */
  dockerSocket: string;
  dockerdRoot: string;
  dockerdExecRoot: string;
  containerdSocket: string;
  containerdRoot: string;
  containerdState: string;
  registrySocket: string;
  natsStore: string;
  natsConfig: string;
  natsTokenFile: string;
  /** nats-server writes its pid here; clients look for it beside the token's file. */
  natsPidFile: string;
  /** Each daemon's output, `<name>.log`. */
  logs: string;
  /** Which processes were started, for a second start to find. */
  record: string;
}

/**
 * The paths of a suite.
 *
 * @param dir a private directory for everything (keep it short: a socket path may have 107 bytes, and a shim's has 90
 *   below it); the system's own places when left out
 */
export function suitePaths(dir?: string): SuitePaths {
  const run = dir === undefined ? "/run/longshore" : path.join(dir, "run");
  const lib = dir === undefined ? "/var/lib/longshore" : path.join(dir, "lib");
  return {
    run,
    lib,
    dockerSocket: path.join(run, "docker.sock"),
    dockerdRoot: path.join(lib, "dockerd"),
    dockerdExecRoot: path.join(run, "dockerd"),
    containerdSocket: path.join(run, "containerd/containerd.sock"),
    containerdRoot: path.join(lib, "containerd"),
    containerdState: path.join(run, "containerd"),
    registrySocket: path.join(run, "registry-client.sock"),
    natsStore: path.join(lib, "nats"),
    natsConfig: path.join(run, "nats.conf"),
    natsTokenFile: path.join(run, "nats.token"),
    natsPidFile: path.join(run, "nats.token.pid"),
    logs: path.join(lib, "log"),
    record: path.join(run, "suite.json"),
  };
}
