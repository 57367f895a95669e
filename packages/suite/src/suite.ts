import fs from "node:fs";
import path from "node:path";
import { cgroupFlags } from "./cgroup-flags.ts";
import { Daemon, type DaemonFailure } from "./daemon.ts";
import { findExecutable } from "./executables.ts";
import { engineHealthy, grpcHealthy, natsHealthy, type Probe } from "./health.ts";
import { type GivenNats, type NatsSettings, prepareNats } from "./nats.ts";
import { type SuitePaths, suitePaths } from "./paths.ts";
import { leftBehind, refuseSecondOwner, writeRecord } from "./record.ts";

/** The daemons, in the order in which they are stopped. */
export const componentNames = ["dockerd", "registry-client", "containerd", "nats-server"] as const;
export type ComponentName = (typeof componentNames)[number];

export interface Bridge {
  /** At most 15 bytes; also the name of the nftables table. */
  name: string;
  /** The bridge's own address with its prefix, e.g. `172.30.0.1/16`; dockerd's default when left out. */
  cidr?: string;
}

/** What is needed to start a component. */
export interface Launch {
  path: string;
  args: string[];
  env?: Record<string, string>;
}

/** Changes to how a component is started. */
export interface Component {
  /** Another executable, e.g. `/usr/bin/containerd`. */
  path?: string;
  /** Its arguments, instead of ours. */
  args?: (paths: SuitePaths, options: SuiteOptions) => string[];
  /** Arguments beside ours. */
  extraArgs?: string[];
  env?: Record<string, string>;
}

export interface SuiteOptions {
  /** A private directory for all sockets and state; the system's places when left out. */
  dir?: string;
  /** Where our executables are. */
  binDir: string;
  bridge?: Bridge;
  /** Parent of the containers' cgroups. */
  cgroupParent?: string;
  logLevel?: string;
  /** Loopback port of nats-server; when left out, that of the last start, at first a free one. */
  natsPort?: number;
  /** A NATS server that runs already; none is started then. */
  nats?: GivenNats;
  /** `host:port` of registries without TLS, beside loopback. */
  insecureRegistries?: string[];
  components?: Partial<Record<ComponentName, Component>>;
  /** Not to be started: a real dockerd needs no registry-client. */
  without?: readonly ComponentName[];
  startTimeoutMs?: number;
  /** Ends a start that isn't finished. */
  signal?: AbortSignal;
  /** A daemon ended that nobody told to. */
  onDeath?: (name: ComponentName, death: DaemonFailure) => void;
}

/** Running daemons; containers live on when it is stopped. */
export interface Suite extends AsyncDisposable {
  readonly paths: SuitePaths;
  /** For `DOCKER_HOST`. */
  readonly dockerHost: string;
  readonly binDir: string;
  readonly natsUrl: string;
  pid(name: ComponentName): number | undefined;
  running(name: ComponentName): boolean;
  /** What a daemon wrote since its last start. */
  output(name: ComponentName): string;
  /** Send a signal; for SIGKILL resolves when the process is gone. */
  kill(name: ComponentName, signal: NodeJS.Signals): Promise<void>;
  /** Start a daemon that has ended, and wait until it is healthy. */
  start(name: ComponentName): Promise<void>;
  /** SIGTERM, wait, start. */
  restart(name: ComponentName): Promise<void>;
  /** SIGTERM to all, dockerd first; returns the names of those that had to be killed. */
  stop(): Promise<ComponentName[]>;
}

const STOP_GRACE_MS = 15_000;

/**
 * Start nats-server, containerd, registry-client and dockerd and wait until each is healthy. Needs root.
 *
 * @throws DaemonFailure with its last output when one of them ends or isn't ready in time (the others are stopped)
 * @throws AlreadyRunning when a live process owns a suite at these paths
 */
export async function startSuite(options: SuiteOptions): Promise<Suite> {
  const paths = suitePaths(options.dir);
  // Members of the socket's group pass through them.
  makeDirectory(paths.run, 0o711);
  makeDirectory(paths.lib, 0o711);
  refuseSecondOwner(paths.record);
  const old = leftBehind(paths.record);
  if (old.length > 0) {
    const list = old.map(({ name, pid }) => `${name} ${pid}`).join(", ");
    throw new Error(`daemons of an earlier start still run: ${list}`);
  }
  writeRecord(paths.record, {});
  makeDirectory(paths.logs, 0o750);
  const suite = new RunningSuite(
    options,
    paths,
    await prepareNats(paths, { port: options.natsPort, given: options.nats }),
  );
  const stop = () => void suite.stop();
  options.signal?.addEventListener("abort", stop, { once: true });
  try {
    options.signal?.throwIfAborted();
    await suite.startAll();
    options.signal?.removeEventListener("abort", stop);
  } catch (error) {
    await suite.stop();
    throw options.signal?.aborted ? options.signal.reason : error;
  }
  return suite;
}

/** Make a directory, or correct its mode: neither the umask nor an earlier start decides it. */
function makeDirectory(directory: string, mode: number): void {
  fs.mkdirSync(directory, { recursive: true, mode });
  fs.chmodSync(directory, mode);
}

class RunningSuite implements Suite {
  readonly paths: SuitePaths;
  readonly dockerHost: string;
  readonly binDir: string;
  readonly natsUrl: string;
  readonly #options: SuiteOptions;
  readonly #nats: NatsSettings;
  readonly #daemons = new Map<ComponentName, Daemon>();
  #stopping = false;

  constructor(options: SuiteOptions, paths: SuitePaths, nats: NatsSettings) {
    this.#options = options;
    this.#nats = nats;
    this.paths = paths;
    this.binDir = path.resolve(options.binDir);
    this.dockerHost = `unix://${paths.dockerSocket}`;
    this.natsUrl = nats.url;
  }

  async startAll(): Promise<void> {
    // dockerd asks containerd for the containers that ran on, so it comes after it; the others don't wait for each other.
    const { without = [] } = this.#options;
    const wanted = componentNames.filter(
      (name) => !without.includes(name) && !(name === "nats-server" && this.#options.nats),
    );
    const first = wanted.filter((name) => name !== "dockerd").map((name) => this.start(name));
    for (const result of await Promise.allSettled(first))
      if (result.status === "rejected") throw result.reason;
    if (wanted.includes("dockerd")) await this.start("dockerd");
  }

  async start(name: ComponentName): Promise<void> {
    if (this.#stopping) throw new Error(`${name}: the suite is being stopped`);
    if (this.#daemons.get(name)?.running) throw new Error(`${name} is running`);
    const { path: file, args, env } = this.#launch(name);
    const { onDeath, startTimeoutMs = 30_000 } = this.#options;
    const daemon = Daemon.spawn({
      name,
      path: file,
      args,
      // Helpers are looked for beside their caller; with a real caller (which doesn't), on PATH.
      env: {
        ...process.env,
        PATH: `${this.binDir}:${process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin"}`,
        ...env,
      },
      logFile: path.join(this.paths.logs, `${name}.log`),
      probe: this.#probe(name),
      startTimeoutMs,
      onDeath: (death) => onDeath?.(name, death),
    });
    this.#daemons.set(name, daemon);
    this.#record();
    await daemon.healthy();
  }

  #record(): void {
    const pids = [...this.#daemons].filter(([, daemon]) => daemon.running);
    writeRecord(this.paths.record, Object.fromEntries(pids.map(([name, daemon]) => [name, daemon.pid])));
  }

  #launch(name: ComponentName): Launch {
    const change = this.#options.components?.[name] ?? {};
    const file =
      change.path ?? (name === "nats-server" ? findExecutable(name) : path.join(this.binDir, name));
    if (!file) throw new Error(`${name} is not installed`);
    const args = change.args ? change.args(this.paths, this.#options) : this.#arguments(name);
    return { path: file, args: [...args, ...(change.extraArgs ?? [])], env: change.env ?? {} };
  }

  #arguments(name: ComponentName): string[] {
    const { paths, natsUrl } = this;
    const { bridge, cgroupParent, logLevel = "info", insecureRegistries = [] } = this.#options;
    const level = ["--log-level", logLevel];
    const nats = ["--nats-url", natsUrl, "--nats-token-file", paths.natsTokenFile];
    switch (name) {
      case "nats-server":
        return ["-c", paths.natsConfig];
      case "containerd":
        return [
          ...["--address", paths.containerdSocket],
          ...["--root", paths.containerdRoot],
          ...["--state", paths.containerdState],
          ...level,
          ...nats,
        ];
      case "registry-client":
        return [
          "serve",
          ...["--address", paths.registrySocket],
          ...["--containerd", paths.containerdSocket],
          ...level,
          ...insecureRegistries.flatMap((host) => ["--insecure-registry", host]),
        ];
      case "dockerd":
        return [
          ...["-H", this.dockerHost],
          ...["--data-root", paths.dockerdRoot],
          ...["--exec-root", paths.dockerdExecRoot],
          ...["--containerd", paths.containerdSocket],
          ...["--registry-client", paths.registrySocket],
          ...level,
          ...nats,
          ...(bridge ? ["--bridge", bridge.name] : []),
          ...(bridge?.cidr ? ["--bip", bridge.cidr] : []),
          ...cgroupFlags(cgroupParent),
        ];
    }
  }

  #probe(name: ComponentName): Probe {
    switch (name) {
      case "nats-server":
        if (this.#nats.port === undefined) throw new Error("nats-server: the given one is not ours to start");
        return natsHealthy(this.#nats.port);
      case "containerd":
        return grpcHealthy(this.paths.containerdSocket);
      case "registry-client":
        return grpcHealthy(this.paths.registrySocket);
      case "dockerd":
        return engineHealthy(this.paths.dockerSocket);
    }
  }

  #daemon(name: ComponentName): Daemon {
    const daemon = this.#daemons.get(name);
    if (!daemon) throw new Error(`${name} was not started`);
    return daemon;
  }

  pid(name: ComponentName): number | undefined {
    const daemon = this.#daemons.get(name);
    return daemon?.running ? daemon.pid : undefined;
  }

  running(name: ComponentName): boolean {
    return this.#daemons.get(name)?.running ?? false;
  }

  output(name: ComponentName): string {
    return this.#daemon(name).output();
  }

  async kill(name: ComponentName, signal: NodeJS.Signals): Promise<void> {
    await this.#daemon(name).kill(signal);
  }

  async restart(name: ComponentName): Promise<void> {
    await this.#daemon(name).stop(STOP_GRACE_MS);
    await this.start(name);
  }

  async stop(): Promise<ComponentName[]> {
    this.#stopping = true;
    const killed: ComponentName[] = [];
    for (const name of componentNames) {
      const daemon = this.#daemons.get(name);
      if (daemon && !(await daemon.stop(STOP_GRACE_MS))) killed.push(name);
    }
    fs.rmSync(this.paths.record, { force: true });
    return killed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
