import os from "node:os";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { parseReference } from "@longshore/reference";
import { parseMountRequest } from "../volumes/parse-mounts.ts";
import type { ContainerConfig, CreateRequest } from "./container-config.ts";
import { exposedPorts } from "./port-bindings.ts";

const NANOS = 1e9;
/** As much as Linux takes. */
const HOSTNAME_MAX = 64;

/**
 * Refuse values of the right type that can't be meant.
 * @throws EngineError `invalid_argument`, in Docker's words
 */
export function checkValues({ Image, Env, WorkingDir, Hostname, HostConfig }: CreateRequest): void {
  const refuse = (message: string) => new EngineError("invalid_argument", message);
  if (!/^(sha256:)?[0-9a-f]{0,64}$/.test(Image)) parseReference(Image);
  checkWorkingDir(WorkingDir);
  if (Buffer.byteLength(Hostname) > HOSTNAME_MAX) {
    throw refuse(`hostname ${JSON.stringify(Hostname)} is too long (maximum ${HOSTNAME_MAX} bytes)`);
  }
  if (Object.hasOwn(HostConfig.Annotations, "")) {
    throw refuse("invalid Annotations: the empty string is not permitted as an annotation key");
  }
  const [nameless] = Env.filter((entry) => entry === "" || entry.startsWith("="));
  if (nameless !== undefined) throw refuse(`invalid environment variable: ${nameless}`);
  if (HostConfig.NetworkMode === "container:") throw refuse("invalid container format container:<name|id>");
  const { NanoCpus } = HostConfig;
  const { length: cpus } = os.cpus();
  if (NanoCpus < 0 || (NanoCpus > 0 && NanoCpus < NANOS / 100) || NanoCpus > cpus * NANOS) {
    throw refuse(`range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  }
}

/** @throws EngineError `invalid_argument`, in Docker's words */
function checkWorkingDir(directory: string): void {
  if (directory === "" || path.isAbsolute(directory)) return;
  throw new EngineError(
    "invalid_argument",
    `the working directory '${directory}' is invalid, it needs to be an absolute path`,
  );
}

/**
 * Refuse values that a container can't run with, whether they come from the request or the image.
 * @param config of the request, completed from the image
 * @throws EngineError `invalid_argument` that names the field
 */
export function checkConfig(config: ContainerConfig): void {
  checkWorkingDir(config.WorkingDir);
  exposedPorts(config.ExposedPorts);
  for (const Target of config.Volumes)
    parseMountRequest({ Type: "volume", Target: path.join("/", Target) }, { sourceMustExist: false });
  const { User, WorkingDir, Env, Entrypoint, Cmd, Volumes, Healthcheck, Shell } = config;
  const texts = { User: [User], WorkingDir: [WorkingDir], Env, Entrypoint, Cmd, Volumes, Shell };
  for (const [field, values] of Object.entries({ ...texts, "Healthcheck.Test": Healthcheck?.Test })) {
    // For the kernel, a text ends there: the container would get less than `inspect` shows.
    if (values?.some((value) => value.includes("\0")))
      throw new EngineError("invalid_argument", `invalid ${field}: it contains a null character`);
  }
}
