import fs from "node:fs";
import os from "node:os";
import { COMMIT, VERSION } from "@longshore/cli";
import type { Engine } from "../engine.ts";
import { droppedLines } from "../logs/container-log.ts";
import { STALL_CAUSES, type StallCause } from "../stalls/stall-watch.ts";
import { kernelVersion, operatingSystem } from "../system/host-facts.ts";
import { Histogram, type Metric } from "./prometheus.ts";

/** Operations of the API whose time is measured, by method and route. */
const ACTIONS: Readonly<Record<string, string>> = {
  "GET /containers/:id/changes": "changes",
  "POST /commit": "commit",
  "POST /containers/create": "create",
  "DELETE /containers/:id": "delete",
};
/** Whoever asks for it: a client, or a restart policy. */
const START = "start";
/** What is done for a container's networks. */
export type NetworkAction = "allocate" | "connect" | "release";
const NETWORK_ACTIONS: readonly NetworkAction[] = ["allocate", "connect", "release"];
const HOST_FUNCTIONS: Readonly<Record<string, string>> = {
  "GET /info": "system_info",
  "GET /version": "system_version",
};

/** What is counted and timed in a running daemon, under the names that Docker's has. */
export class EngineMetrics {
  healthChecks = 0;
  failedHealthChecks = 0;
  private readonly actions = new Histogram(
    "engine_daemon_container_actions_seconds",
    "The number of seconds it takes to process each container action",
    "action",
    [...Object.values(ACTIONS), START],
  );
  private readonly networkActions = new Histogram(
    "engine_daemon_network_actions_seconds",
    "The number of seconds it takes to process each network action",
    "action",
    NETWORK_ACTIONS,
  );
  private readonly hostFunctions = new Histogram(
    "engine_daemon_host_info_functions_seconds",
    "The number of seconds it takes to call functions gathering info about the host",
    "function",
    Object.values(HOST_FUNCTIONS),
  );
  /** Docker has no such metric. */
  private readonly stalls = new Histogram(
    "engine_daemon_event_loop_stalls_seconds",
    "The number of seconds that the daemon's event loop stood still, by what held it up",
    "cause",
    STALL_CAUSES,
  );

  /** Take in that an operation has succeeded. @param route `GET /info` */
  observe(route: string, seconds: number): void {
    const action = ACTIONS[route];
    if (action) this.actions.observe(action, seconds);
    const called = HOST_FUNCTIONS[route];
    if (called) this.hostFunctions.observe(called, seconds);
  }

  /** Take in that a container has been started. */
  observeStart(seconds: number): void {
    this.actions.observe(START, seconds);
  }

  /** Take in that the event loop stood still. */
  observeStall(cause: StallCause, seconds: number): void {
    this.stalls.observe(cause, seconds);
  }

  /** Carry out something for a container's networks, and take in how long it took. */
  async timeNetwork<T>(action: NetworkAction, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const result = await work();
    this.networkActions.observe(action, (performance.now() - started) / 1000);
    return result;
  }

  collect(engine: Engine): Metric[] {
    return [
      this.actions.collect(),
      containerStates(engine),
      gauge(
        "engine_daemon_engine_cpus_cpus",
        "The number of cpus that the host system of the engine has",
        os.cpus().length,
      ),
      engineInfo(engine),
      gauge(
        "engine_daemon_engine_memory_bytes",
        "The number of bytes of memory that the host system of the engine has",
        os.totalmem(),
      ),
      gauge(
        "engine_daemon_events_subscribers_total",
        "The number of current subscribers to events",
        engine.events.listenerCount,
      ),
      counter("engine_daemon_events_total", "The number of events logged", engine.events.total),
      counter(
        "engine_daemon_health_checks_failed_total",
        "The total number of failed health checks",
        this.failedHealthChecks,
      ),
      counter("engine_daemon_health_checks_total", "The total number of health checks", this.healthChecks),
      this.hostFunctions.collect(),
      this.networkActions.collect(),
      droppedLogLines(engine),
      this.stalls.collect(),
      ...processMetrics(engine),
    ];
  }
}

function containerStates(engine: Engine): Metric {
  const count = { paused: 0, running: 0, stopped: 0 };
  for (const { record } of engine.containers.list()) {
    const { status } = record.state;
    if (status === "paused" || status === "running") count[status] += 1;
    else count.stopped += 1;
  }
  return {
    name: "engine_daemon_container_states_containers",
    help: "The count of containers in various states",
    type: "gauge",
    samples: Object.entries(count).map(([state, value]) => ({ labels: { state }, value })),
  };
}

/** Docker has no such metric. It begins anew with each start of a container. */
function droppedLogLines(engine: Engine): Metric {
  const lossy = engine.containers
    .list()
    .filter(({ record }) => record.hostConfig.LogConfig.Config.mode === "non-blocking");
  return {
    name: "engine_daemon_container_log_lines_dropped_total",
    help: "The number of lines that a log driver in the mode non-blocking was too slow for",
    type: "counter",
    samples: lossy.map(({ id, record }) => ({
      labels: { id, name: record.name },
      value: droppedLines(engine, id),
    })),
  };
}

function engineInfo({ id }: Engine): Metric {
  const { name, version } = operatingSystem();
  const labels = {
    architecture: os.machine(),
    commit: COMMIT,
    daemon_id: id,
    graphdriver: "overlayfs",
    kernel: kernelVersion(),
    os: name,
    os_type: "linux",
    os_version: version,
    version: VERSION,
  };
  return {
    name: "engine_daemon_engine_info",
    help: "The information related to the engine and the OS it is running on",
    type: "gauge",
    samples: [{ labels, value: 1 }],
  };
}

/** What Prometheus's clients say of their own process. */
function processMetrics({ startedAt }: Engine): Metric[] {
  const { user, system } = process.cpuUsage();
  const pages = fs.readFileSync("/proc/self/statm", "utf8").split(" ").map(Number);
  const limit = /^Max open files +(\d+)/m.exec(fs.readFileSync("/proc/self/limits", "utf8"))?.[1];
  return [
    counter(
      "process_cpu_seconds_total",
      "Total user and system CPU time spent in seconds.",
      (user + system) / 1e6,
    ),
    gauge("process_max_fds", "Maximum number of open file descriptors.", Number(limit ?? 0)),
    gauge("process_open_fds", "Number of open file descriptors.", fs.readdirSync("/proc/self/fd").length),
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.", (pages[1] ?? 0) * 4096),
    gauge(
      "process_start_time_seconds",
      "Start time of the process since unix epoch in seconds.",
      startedAt.getTime() / 1000,
    ),
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", (pages[0] ?? 0) * 4096),
  ];
}

function gauge(name: string, help: string, value: number): Metric {
  return { name, help, type: "gauge", samples: [{ value }] };
}

function counter(name: string, help: string, value: number): Metric {
  return { name, help, type: "counter", samples: [{ value }] };
}
