import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";

/** Where `resolveRuntime` looks for a shim, in order. */
export interface SearchPlaces {
  /** The directory of our own executable. */
  beside: string;
  /** As the environment variable PATH. */
  path: string;
}

/** `io.containerd.runc.v2` → `containerd-shim-runc-v2`; undefined for what is no runtime's name. */
export function shimBinaryName(runtime: string): string | undefined {
  const parts = runtime.split(".");
  if (parts.length < 2 || parts[0] === "") return undefined;
  return `containerd-shim-${parts.at(-2)}-${parts.at(-1)}`;
}

/**
 * The shim that serves a runtime: given by an absolute path, or by a name whose last two parts name the binary.
 * @throws EngineError `invalid_argument` for what is neither, `not_found` when the binary isn't there
 */
export function resolveRuntime(runtime: string, { beside, path: searched }: SearchPlaces): string {
  if (runtime === "") throw new EngineError("invalid_argument", "no runtime name");
  if (path.isAbsolute(runtime)) {
    if (fs.existsSync(runtime)) return runtime;
    throw new EngineError(
      "not_found",
      `invalid custom binary path: stat ${runtime}: no such file or directory`,
    );
  }
  const name = runtime.includes("/") ? undefined : shimBinaryName(runtime);
  if (name === undefined) {
    throw new EngineError(
      "invalid_argument",
      `invalid runtime name ${runtime}, correct runtime name should be either format like \`io.containerd.runc.v2\` or a full path to the binary`,
    );
  }
  for (const directory of [beside, ...searched.split(":")]) {
    const candidate = path.join(directory || ".", name);
    if (isExecutable(candidate)) return path.resolve(candidate);
  }
  throw new EngineError(
    "not_found",
    `runtime ${JSON.stringify(runtime)} binary not installed ${JSON.stringify(name)}: file does not exist`,
  );
}

function isExecutable(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false; // not there, or not for us: look on
  }
}
