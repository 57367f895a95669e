import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { checkLogConfig } from "@longshore/log-drivers";
import { formatPlatform, hostPlatform, type Platform } from "@longshore/oci";
import { checkCgroupParent } from "../config/cgroup-driver.ts";
import { chooseShim } from "../config/runtimes.ts";
import { SNAPSHOTTER } from "../containerd/client.ts";
import { containerDir, type Engine } from "../engine.ts";
import { checkHealthcheck, mergeHealthcheck } from "../health/healthcheck.ts";
import { labelWarnings } from "../health/replace-unhealthy.ts";
import type { Image } from "../images/image.ts";
import { runsHere } from "../images/image-store.ts";
import { initKey } from "../images/init-layer.ts";
import { platformOf } from "../images/read-image.ts";
import { requestedLinks } from "../links/container-links.ts";
import { logPath, withDefaultLog } from "../logs/container-log.ts";
import { checkEtcOptions } from "../networks/etc-files.ts";
import { requestedNetworks } from "../networks/network-request.ts";
import { capabilitiesOf } from "../spec/capabilities.ts";
import { checkDevices } from "../spec/devices.ts";
import { withoutDiscarded } from "../spec/discarded.ts";
import { withImageEnv } from "../spec/environment.ts";
import { checkInit } from "../spec/init-process.ts";
import { checkResources } from "../spec/resources.ts";
import { parseSecurityOptions } from "../spec/security-options.ts";
import { cgroupVersion } from "../system/host-facts.ts";
import { checkRemapped } from "../userns/user-namespaces.ts";
import { clean } from "../volumes/parse-mounts.ts";
import { checkMounts, fillVolumes, planMounts } from "../volumes/plan-mounts.ts";
import { checkConfig, checkValues } from "./check-values.ts";
import { Container, type ContainerRecord, type ImageManifest, ZERO_TIME } from "./container.ts";
import type { ContainerConfig, CreateRequest, HostConfig } from "./container-config.ts";
import { emitContainerEvent } from "./container-events.ts";
import { checkName, newId, randomName } from "./names.ts";
import { checkModes } from "./namespace-modes.ts";
import { portRequests } from "./port-bindings.ts";
import { refuseUnsupported } from "./refuse-unsupported.ts";
import { checkRestartPolicy, restarts } from "./restart-policy.ts";
import { parseSignal } from "./signals.ts";

const NAME_ATTEMPTS = 16;

export interface CreateOptions {
  /** As given by the client; one is made up when it is undefined. */
  name: string | undefined;
  /** What the image has to be for; undefined: whatever it is for. */
  platform: Platform | undefined;
  /** Binds that are read-only leave what is mounted below them writable, unless they say otherwise. */
  shallowReadOnly: boolean;
}

/**
 * Make a container: its record, its directory and its snapshot.
 *
 * @throws EngineError `invalid_argument` for a request that makes no sense or isn't supported, `not_found` for the
 *   image, `conflict` for the name
 */
export async function createContainer(
  engine: Engine,
  request: CreateRequest,
  { name, platform, shallowReadOnly }: CreateOptions,
): Promise<{ container: Container; warnings: string[] }> {
  const id = newId();
  const reserved = reserveName(engine, id, name);
  await using undo = new AsyncDisposableStack();
  undo.defer(() => engine.containers.release(reserved, id));

  refuseUnsupported(request);
  checkValues(request);
  await engine.store.check();
  const { hostConfig, warnings } = checkHostConfig(engine, request);
  portRequests({ ExposedPorts: request.ExposedPorts }, hostConfig); // throws for what is none
  const networks = requestedNetworks(engine, request, hostConfig);
  const links = requestedLinks(engine, hostConfig);
  if (request.Image === "")
    throw new EngineError("invalid_argument", "no image specified: Config.Image is empty");
  const image = await engine.images.findFor(request.Image, platform);
  checkSystem(image);
  const config = mergeConfig(request, image, id);
  checkConfig(config);
  const [first, ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (first === undefined || first === "") throw new EngineError("invalid_argument", "no command specified");

  await engine.unpacker.ensure(image);
  undo.defer(async () => {
    // What containerd is not there to remove is removed when it is.
    await engine.containerd.snapshots.remove({ snapshotter: SNAPSHOTTER, key: id }).catch(() => {});
  });
  const [{ mounts }, imageManifest] = await Promise.all([
    engine.containerd.snapshots.prepare({
      snapshotter: SNAPSHOTTER,
      key: id,
      parent: initKey(image),
      // Until it has started, no container of containerd's keeps the snapshot.
      labels: { "containerd.io/gc.root": new Date().toISOString() },
    }),
    describeManifest(engine, image),
  ]);

  await using planned = await planMounts(engine, {
    ...{ id, hostConfig, config, shallowReadOnly },
    places: request.Volumes,
  });
  await fillVolumes(engine, planned.points, mounts);
  const container = new Container({
    id,
    name: reserved,
    created: new Date().toISOString(),
    imageId: image.id,
    manifestDigest: image.manifestDigest,
    imageManifest,
    config,
    hostConfig,
    networks,
    ...(links.length > 0 && { links }),
    mounts: planned.points,
    path: first,
    args,
    runtime: hostConfig.Runtime,
    state: {
      status: "created",
      pid: 0,
      exitCode: 0,
      error: "",
      oomKilled: false,
      startedAt: ZERO_TIME,
      finishedAt: ZERO_TIME,
    },
    stdio: "",
    sandboxId: "",
    endpoints: [],
    ports: [],
  } satisfies ContainerRecord);
  container.rootfs = mounts;
  undo.defer(() => fs.rmSync(containerDir(engine, id), { recursive: true, force: true }));
  makeDirectory(engine, container);
  // A store that didn't answer may have it all the same.
  undo.defer(() => engine.store.commit([engine.records.delete(id)], [], { whenAway: "keep" }));
  const changes = [engine.records.put(id, container.record), ...planned.changes];
  await engine.store.commit(changes, [engine.records.absent(id)]);
  undo.move();
  engine.containers.add(container);
  planned.made();
  emitContainerEvent(engine, container, "create");
  return {
    container,
    warnings: [
      ...warnings,
      ...(platform ? [] : platformWarnings(image)),
      ...labelWarnings(config, hostConfig),
      ...portWarnings(hostConfig),
    ],
  };
}

function checkSystem({ config: { os } }: Image): void {
  if (os === "linux" || os === "") return;
  const message = `image operating system ${JSON.stringify(os)} cannot be used on this platform: operating system is not supported`;
  throw new EngineError("invalid_argument", message);
}

/** Docker's warning about an image whose programs are for another processor. */
function platformWarnings(image: Image): string[] {
  if (runsHere(image)) return [];
  const [own, host] = [platformOf(image.config), hostPlatform()].map(formatPlatform);
  return [
    `The requested image's platform (${own}) does not match the detected host platform (${host}) and no specific platform was requested`,
  ];
}

function portWarnings({ NetworkMode, PortBindings, PublishAllPorts }: HostConfig): string[] {
  const publishes = PublishAllPorts || Object.keys(PortBindings).length > 0;
  if (NetworkMode !== "host" || !publishes) return [];
  return ["Published ports are discarded when using host network mode"];
}

function reserveName(engine: Engine, id: string, given: string | undefined): string {
  if (given !== undefined) {
    const name = checkName(given);
    engine.containers.reserve(name, id);
    return name;
  }
  for (let attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
    const name = randomName(attempt);
    if (!engine.containers.isNameFree(name)) continue;
    engine.containers.reserve(name, id);
    return name;
  }
  const name = id.slice(0, 12);
  engine.containers.reserve(name, id);
  return name;
}

const SCORE_LIMIT = 1000;

/** What a container is to be limited to and have of the host, with Docker's defaults, and what its client should know. */
function checkHostConfig(
  engine: Engine,
  request: CreateRequest,
): { hostConfig: HostConfig; warnings: string[] } {
  const { resources: host, warnings } = withoutDiscarded(request.HostConfig);
  const modes = checkModes(engine.containers, request);
  checkRemapped(engine.userns, host);
  checkEtcOptions(host);
  checkDevices(host);
  checkCgroupParent(host.CgroupParent, engine.flags.cgroupDriver);
  if (Math.abs(host.OomScoreAdj) > SCORE_LIMIT) {
    throw new EngineError(
      "invalid_argument",
      `Invalid value ${host.OomScoreAdj}, range for oom score adj is [-1000, 1000]`,
    );
  }
  if (host.ShmSize < 0) throw new EngineError("invalid_argument", "SHM size can not be less than 0");
  parseSecurityOptions(host.SecurityOpt);
  capabilitiesOf({ add: host.CapAdd, drop: host.CapDrop, privileged: host.Privileged });
  const logConfig = withDefaultLog(host.LogConfig, engine.flags);
  checkLogConfig(logConfig);
  checkMounts(host);
  const runtime = host.Runtime || engine.flags.defaultRuntime;
  chooseShim(runtime, engine.flags); // throws for one that isn't there
  checkRestartPolicy(host.RestartPolicy);
  checkInit(host, engine.flags);
  if (host.AutoRemove && restarts(host.RestartPolicy)) {
    throw new EngineError("invalid_argument", "can't create 'AutoRemove' container with restart policy");
  }
  const hostConfig = {
    ...host,
    ...checkResources(host),
    Runtime: runtime,
    NetworkMode: modes.NetworkMode === "" ? "default" : modes.NetworkMode,
    IpcMode: modes.IpcMode || engine.flags.defaults.ipcMode,
    PidMode: modes.PidMode,
    CgroupnsMode:
      host.CgroupnsMode ||
      (host.Privileged && cgroupVersion() === "1" ? "host" : engine.flags.defaults.cgroupnsMode),
    PidsLimit: (host.PidsLimit ?? 0) > 0 ? host.PidsLimit : null,
    LogConfig: logConfig,
    ShmSize: host.ShmSize || engine.flags.defaults.shmSizeBytes,
  };
  return { hostConfig, warnings };
}

/** What the client asked for, completed from the image as Docker does: a given entrypoint drops the image's command. */
export function mergeConfig(
  request: CreateRequest,
  { config: { config } }: Image,
  id: string,
): ContainerConfig {
  const { HostConfig: host, NetworkingConfig: _, ...own } = request;
  const entrypoint = own.Entrypoint;
  // `--entrypoint ""` arrives as [""] and takes the image's away.
  const cleared = entrypoint?.length === 1 && entrypoint[0] === "";
  const takesImageCommand = entrypoint === null || entrypoint.length === 0;
  if (own.StopSignal !== "") parseSignal(own.StopSignal);
  const Healthcheck = mergeHealthcheck(own.Healthcheck, config?.Healthcheck);
  checkHealthcheck(Healthcheck);
  return {
    ...own,
    Hostname:
      own.Hostname || (host.UTSMode === "host" || host.NetworkMode === "host" ? hostName() : id.slice(0, 12)),
    User: own.User || (config?.User ?? ""),
    Env: withImageEnv(own.Env, config?.Env ?? []),
    Entrypoint: entrypoint === null ? (config?.Entrypoint ?? null) : cleared ? null : entrypoint,
    Cmd: own.Cmd?.length ? own.Cmd : takesImageCommand ? (config?.Cmd ?? null) : own.Cmd,
    Healthcheck,
    WorkingDir: (own.WorkingDir && clean(own.WorkingDir)) || (config?.WorkingDir ?? ""),
    Labels: { ...config?.Labels, ...own.Labels },
    ExposedPorts: [...new Set([...Object.keys(config?.ExposedPorts ?? {}), ...own.ExposedPorts])],
    Volumes: [...new Set([...Object.keys(config?.Volumes ?? {}), ...own.Volumes])],
    StopSignal: own.StopSignal || (config?.StopSignal ?? ""),
  };
}

async function describeManifest(engine: Engine, image: Image): Promise<ImageManifest> {
  const { mediaType, digest, size } = await engine.images.manifestOf(image);
  const { architecture, os, variant } = platformOf(image.config);
  return {
    mediaType,
    digest,
    size: Number(size),
    platform: { architecture, os, ...(variant && { variant }) },
  };
}

function hostName(): string {
  return fs.readFileSync("/proc/sys/kernel/hostname", "utf8").trim();
}

function makeDirectory(engine: Engine, container: Container): void {
  const directory = containerDir(engine, container.id);
  fs.mkdirSync(directory, { recursive: true, mode: 0o710 });
  fs.writeFileSync(path.join(directory, "hostname"), `${container.record.config.Hostname}\n`);
  const log = logPath(engine, container.record);
  if (log !== "") fs.writeFileSync(log, "", { mode: 0o640 });
}
