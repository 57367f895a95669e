import fs from "node:fs";
import path from "node:path";
import { RegistryDefinition } from "@longshore/api/longshore/registry/v1/registry";
import { EngineError, errorCode } from "@longshore/errors";
import { openEventBus } from "@longshore/events";
import type { Logger } from "@longshore/log";
import { openNetworks } from "@longshore/network";
import { channelTo, createClient, tidyAtRest } from "@longshore/rpc";
import { collection } from "@longshore/store";
import { ensureDirectory, notifySupervisor } from "@longshore/syscalls";
import { allRoutes } from "./api/routes.ts";
import { Authorizer } from "./authz/authorizer.ts";
import { parseHost } from "./config/hosts.ts";
import { reloadConfig } from "./config/reload.ts";
import { writeWrappers } from "./config/runtimes.ts";
import { type ConfigSource, checkHost, type Settings } from "./config/settings.ts";
import { readTls } from "./config/tls.ts";
import { type ContainerdClient, connectContainerd } from "./containerd/client.ts";
import { settleLeases } from "./containerd/leases.ts";
import { startWanted } from "./containers/auto-restart.ts";
import type { ContainerRecord } from "./containers/container.ts";
import { ContainerIndex } from "./containers/container-index.ts";
import { loadContainers, reconcileContainers, removeLeftovers } from "./containers/reconcile.ts";
import { removeStaleSharedMemory } from "./containers/shared-memory.ts";
import { stopAll } from "./containers/stop-all.ts";
import { exitOfEvent, takeExit, watchContainerd } from "./containers/watch-exits.ts";
import type { Engine } from "./engine.ts";
import { EngineEvents } from "./events/engine-events.ts";
import { EventBridge } from "./events/event-bridge.ts";
import { ExecIndex } from "./execs/exec-index.ts";
import { socketGroup } from "./http/listeners.ts";
import { ApiServer, type ServerListeners } from "./http/server.ts";
import { ImageStore } from "./images/image-store.ts";
import { PullService } from "./images/pull.ts";
import { registryHosts } from "./images/registry-service.ts";
import { Unpacker } from "./images/unpack.ts";
import { EngineMetrics } from "./metrics/engine-metrics.ts";
import { serveMetrics } from "./metrics/serve-metrics.ts";
import { settleNetworks } from "./networks/settle-networks.ts";
import { StallWatch } from "./stalls/stall-watch.ts";
import { ImageNames } from "./state/image-names.ts";
import { openState } from "./state/open-state.ts";
import { ensureProfile } from "./system/app-armor.ts";
import { engineId } from "./system/engine-id.ts";
import { writePidFile } from "./system/pid-file.ts";
import { PruneGuard } from "./system/prune-guard.ts";
import { lockRoot } from "./system/root-lock.ts";
import { openUserNamespaces } from "./userns/user-namespaces.ts";
import { removeStages } from "./volumes/start-mounts.ts";
import { containersWith, runningVolumes } from "./volumes/volume-users.ts";
import { Volumes } from "./volumes/volumes.ts";

const CONTAINERD_WAIT_MS = 30_000;
const EXITS_WAIT_MS = 5000;

export interface DaemonOptions {
  settings: Settings;
  /** Where the settings came from, to be read again on SIGHUP. */
  source: ConfigSource;
  log: Logger;
  signal: AbortSignal;
}

/** Serve the Engine API until the signal aborts. Containers go on running. */
export async function runDaemon({ settings: flags, source, log, signal }: DaemonOptions): Promise<void> {
  await using resources = new AsyncDisposableStack();
  // From here on it is no reason to end; what was asked for before the daemon serves is done then.
  let reload = () => {
    reloadWanted = true;
  };
  let reloadWanted = false;
  process.on("SIGHUP", () => reload());
  // A bug in one operation must not end all the others.
  process.on("unhandledRejection", (error) => log.error({ err: error }, "unhandled rejection"));
  // As the original: files that any user of a container reads (/etc/hosts) are made with it.
  process.umask(0o022);
  ensureDirectory(flags.execRoot, 0o700);
  // Other users must not reach setuid files of volumes (CVE-2021-41091).
  ensureDirectory(flags.dataRoot, 0o710);
  ensureDirectory(path.join(flags.dataRoot, "containers"), 0o710);
  resources.use(lockRoot(flags.dataRoot));
  if (flags.pidfile !== undefined) resources.use(writePidFile(flags.pidfile));
  if (flags.oomScoreAdjust !== undefined) adjustOomScore(flags.oomScoreAdjust);
  const authorizer = new Authorizer();
  authorizer.configure(flags.authorizationPlugins);
  writeWrappers(flags.runtimes, flags.dataRoot);
  const userns = openUserNamespaces(flags.usernsRemap, { dataRoot: flags.dataRoot, log });
  if (userns) resources.use(userns);
  const id = engineId(flags.dataRoot);
  const { store, fleet } = await openState(flags, id, log, signal);
  resources.use(store);
  const containerd = resources.use(connectContainerd(flags.containerdSocket, flags.containerdNamespace, id));
  const registryChannel = channelTo(flags.registrySocket);
  resources.defer(() => registryChannel.close());
  const registry = {
    client: createClient(registryChannel, RegistryDefinition),
    hosts: () => registryHosts(flags),
  };
  await ensureProfile().catch((error) => log.error({ err: error }, "the default AppArmor profile"));
  await waitForContainerd(containerd, log, signal);
  await ensureNamespace(containerd);
  await settleLeases(containerd);

  const networks = await openNetworks({
    stateDir: flags.execRoot,
    bridge: flags.bridge,
    ...(flags.bip !== undefined && { bip: flags.bip }),
    ...(flags.ipv6 !== undefined && { ipv6: flags.ipv6 }),
    defaultBridge: flags.defaultBridge,
    addressPools: flags.addressPools,
    store,
    log,
  });
  resources.defer(() => networks.close());
  const images = new ImageStore(containerd, fleet && new ImageNames(store));
  const unpacker = new Unpacker(containerd);
  const events = new EngineEvents(store, (error) => log.warn({ err: error }, "an event is not kept"));
  const containers = new ContainerIndex();
  const metrics = new EngineMetrics();
  const onStall = metrics.observeStall.bind(metrics);
  const stalls = resources.use(new StallWatch({ log, onStall }));
  const engine: Engine = {
    flags,
    log,
    id,
    containerd,
    store,
    fleet,
    records: collection<ContainerRecord>(store, "containers"),
    containers,
    execs: new ExecIndex(),
    exits: new Set(),
    prunes: new PruneGuard(),
    images,
    unpacker,
    pulls: new PullService({ containerd, registry, images, unpacker }),
    registry,
    networks,
    volumes: new Volumes({
      dataRoot: flags.dataRoot,
      store,
      events,
      log,
      isPrivate: userns !== undefined,
      containersWith: (name) => containersWith(containers, name),
    }),
    events,
    bridge: undefined,
    fifoRuntimes: new Set(),
    userns,
    metrics,
    stalls,
    authorizer,
    startedAt: new Date(),
    signal,
  };

  await engine.events.load();
  await images.shareNames();
  await loadContainers(engine);
  await engine.volumes.load();
  await removeLeftovers(engine);
  await removeStages(engine);
  // Heard of until containers that end with the daemon have ended.
  const hearing = new AbortController();
  const bridging = joinNats(engine, resources, hearing.signal);
  // Nothing may be taken in, and its task deleted, that the bridge has not seen.
  await engine.bridge?.ready;
  const watching = watchContainerd(engine, hearing.signal);
  await reconcileContainers(engine);
  engine.volumes.settle(runningVolumes(containers));
  removeStaleSharedMemory(engine);
  await networks.reconcile(engine.containers.list().flatMap(({ record }) => record.sandboxId || []));
  await settleNetworks(engine);
  const starting = startWanted(engine);

  const called = tidyAtRest();
  const listeners: ServerListeners = {
    onCall(describe) {
      called();
      return engine.stalls.begin(describe);
    },
    onDone: (route, seconds) => engine.metrics.observe(route, seconds),
  };
  const server = new ApiServer(log, authorizer, listeners, flags.minApiVersion);
  server.add(allRoutes(engine));
  const hosts = flags.hosts.map((host) => parseHost(host, { tls: flags.tls !== undefined }));
  await server.listen(hosts, {
    tls: flags.tls && readTls(flags.tls),
    group: socketGroup(flags.group),
    checkAddress: (host) => checkHost(host, flags),
  });
  if (flags.metricsAddr !== undefined)
    resources.use(await serveMetrics(flags.metricsAddr, () => engine.metrics.collect(engine), log));
  reload = () => reloadConfig(engine, source);
  if (reloadWanted) reload();
  log.info({ hosts: flags.hosts, containers: engine.containers.list().length }, "serving");
  tellSupervisor(log, "READY=1");
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
  tellSupervisor(log, "STOPPING=1");
  log.info(flags.liveRestore ? "stopping; containers go on running" : "stopping, and containers with it");
  server.close();
  if (!flags.liveRestore) await stopAll(engine);
  hearing.abort(signal.reason);
  await Promise.all([watching, bridging, starting]);
  // What is left is finished at the next start.
  await Promise.race([Promise.all(engine.exits), Bun.sleep(EXITS_WAIT_MS)]);
}

/** @throws EngineError `permission_denied` for less than it was started with, where the kernel doesn't allow that */
function adjustOomScore(score: number): void {
  try {
    fs.writeFileSync("/proc/self/oom_score_adj", String(score));
  } catch (cause) {
    throw new EngineError("permission_denied", `can't set oom-score-adjust to ${score}`, { cause });
  }
}

function tellSupervisor(log: Logger, state: string): void {
  try {
    notifySupervisor(state);
  } catch (error) {
    log.warn({ err: error }, "telling the supervisor");
  }
}

/** Hear of exits that shims tell of over NATS, often a little earlier than containerd; and tell NATS what a foreign containerd doesn't. */
async function joinNats(engine: Engine, resources: AsyncDisposableStack, signal: AbortSignal): Promise<void> {
  const { natsUrl, natsTokenFile, execRoot } = engine.flags;
  if (natsUrl === undefined) return;
  const bus = openEventBus({
    url: natsUrl,
    tokenFile: natsTokenFile,
    queueFile: path.join(execRoot, "events.queue"),
    name: "dockerd",
    log: () => engine.log,
  });
  resources.defer(() => bus.close());
  engine.bridge = new EventBridge({ containerd: engine.containerd, bus, log: engine.log });
  const options = { namespace: engine.containerd.namespace, topic: "/tasks/exit", signal };
  void bus.subscribe(options, (envelope) => {
    const exit = exitOfEvent(envelope);
    if (exit) takeExit(engine, exit);
    else
      engine.log.warn({ event: envelope.id }, "an exit on NATS has a field that is missing or out of range");
  });
  await engine.bridge.run(signal);
}

async function waitForContainerd(
  containerd: ContainerdClient,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + CONTAINERD_WAIT_MS;
  for (let told = false; ; told = true) {
    try {
      await containerd.version.version({}, { timeoutMs: 2000, signal });
      return;
    } catch (error) {
      if (signal.aborted || Date.now() > deadline) throw error;
      if (!told) log.info("waiting for containerd");
    }
    await Bun.sleep(100);
  }
}

async function ensureNamespace({ namespaces, namespace }: ContainerdClient): Promise<void> {
  try {
    await namespaces.create({ namespace: { name: namespace, labels: {} } });
  } catch (error) {
    if (errorCode(error) !== "already_exists") throw error;
  }
}
