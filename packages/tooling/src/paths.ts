import path from "node:path";
import { fileURLToPath } from "node:url";

/** The top of the checkout. */
export const repoRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");

export const distDir = path.join(repoRoot, "dist");

/** Where `build` puts the executables. */
export const binDir = path.join(distDir, "bin");

/** The executables of the suite, each a folder of services/. */
export const binaries = [
  "docker",
  "dockerd",
  "containerd",
  "containerd-shim-runc-v2",
  "runc",
  "registry-client",
] as const;

export type Binary = (typeof binaries)[number];
