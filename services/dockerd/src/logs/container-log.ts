import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { jsonFilePath, type LogConfig, type LogPlan, logPlan } from "@longshore/log-drivers";
import { checkReachable } from "@longshore/log-drivers/logger";
import type { JsonFileLog, LoggerProgram } from "@longshore/stdio";
import type { ContainerRecord } from "../containers/container.ts";
import type { HostConfig } from "../containers/container-config.ts";
import { containerDir, type Engine } from "../engine.ts";

const DAEMON_NAME = "docker";
/** The logger is short of work most of the time: it needs no helpers of the JavaScript engine. */
const LEAN = [
  "env.BUN_JSC_useConcurrentJIT=0",
  "env.BUN_JSC_numberOfGCMarkers=1",
  "env.BUN_JSC_useConcurrentGC=0",
].join("&");

/** The daemon's log driver for a container that names none, and its options for what a container leaves open with that driver. */
export function withDefaultLog(
  { Type, Config }: HostConfig["LogConfig"],
  { logDriver, logOpts }: { logDriver: string; logOpts: Record<string, string> },
): HostConfig["LogConfig"] {
  const type = Type || logDriver;
  return { Type: type, Config: type === logDriver ? { ...logOpts, ...Config } : Config };
}

/** What becomes of a container's output. */
export function containerLog(engine: Engine, record: ContainerRecord): LogPlan {
  const { id, name, imageId, config, path: program, args, created, hostConfig } = record;
  const about = {
    ...{ id, name, imageId, created, imageName: config.Image, command: [program, ...args] },
    ...{ env: config.Env, labels: config.Labels, daemonName: DAEMON_NAME },
  };
  return logPlan(hostConfig.LogConfig as LogConfig, { directory: containerDir(engine, id), about });
}

/** The file that inspect tells of; empty for drivers whose files are nobody else's business. */
export function logPath(engine: Engine, { id, hostConfig }: ContainerRecord): string {
  const isJsonFile = ["", "json-file"].includes(hostConfig.LogConfig.Type);
  return isJsonFile ? jsonFilePath(containerDir(engine, id), id) : "";
}

/** @throws EngineError `unimplemented` in Docker's words when the container's log can't be read */
export function readablePath(engine: Engine, record: ContainerRecord): string {
  const { readable } = containerLog(engine, record);
  if (readable !== undefined) return readable;
  throw new EngineError("unimplemented", "configured logging driver does not support reading");
}

/** Where the output of a container's process goes besides to its clients. */
export function outputsOf(
  engine: Engine,
  record: ContainerRecord,
): { log: JsonFileLog | undefined; logger: LoggerProgram | undefined } {
  const { file, logger } = containerLog(engine, record);
  if (!logger) return { log: file, logger: undefined };
  const { bufferBytes } = logger;
  // Named like this program, by which it knows what it is to be.
  const program = path.join(path.dirname(process.execPath), "dockerd");
  const encoded = program.split("/").map(encodeURIComponent).join("/");
  const uri = `binary://${encoded}?log-driver=${encodeURIComponent(configFile(engine, record.id))}&${LEAN}`;
  return {
    log: file,
    logger: {
      uri,
      ...(bufferBytes !== undefined && { bufferBytes, droppedFile: droppedFile(engine, record.id) }),
    },
  };
}

/**
 * Have ready what a container's logger needs; nothing for drivers without one.
 * @throws EngineError in Docker's words when what should take the output isn't there
 */
export async function prepareLogger(engine: Engine, record: ContainerRecord): Promise<void> {
  let plan: LogPlan;
  try {
    plan = containerLog(engine, record);
    fs.rmSync(droppedFile(engine, record.id), { force: true });
    const { logger } = plan;
    if (!logger) return;
    if ("remote" in logger.config) await checkReachable(logger.config.remote);
    fs.writeFileSync(configFile(engine, record.id), JSON.stringify(logger.config), { mode: 0o600 });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError(
      "internal",
      `failed to create task for container: failed to initialize logging driver: ${why}`,
      { cause: error },
    );
  }
}

/** How many lines of a container's output were dropped by the mode `non-blocking` since its last start. */
export function droppedLines(engine: Engine, id: string): number {
  try {
    return Number(fs.readFileSync(droppedFile(engine, id), "utf8"));
  } catch {
    return 0; // none was
  }
}

function configFile(engine: Engine, id: string): string {
  return path.join(containerDir(engine, id), "log-driver.json");
}

function droppedFile(engine: Engine, id: string): string {
  return path.join(containerDir(engine, id), "log-dropped");
}
