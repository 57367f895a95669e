import os from "node:os";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { parseReference } from "@longshore/reference";
import type { CreateRequest } from "./container-config.ts";

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
  if (WorkingDir !== "" && !path.isAbsolute(WorkingDir)) {
    throw refuse(`the working directory '${WorkingDir}' is invalid, it needs to be an absolute path`);
  }
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
