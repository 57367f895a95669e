export { findStaticBusybox } from "./busybox.ts";
export { cgroupFlags } from "./cgroup-flags.ts";
export { DaemonFailure } from "./daemon.ts";
export { type BinDirOptions, findExecutable, mixedBinDir } from "./executables.ts";
export { type ImageServer, type ImageServerOptions, serveImages, writeOciLayout } from "./image-server.ts";
export {
  type Blob,
  blobOf,
  busyboxImage,
  type ImageOptions,
  type LocalImage,
  makeImage,
} from "./local-image.ts";
export { type GivenNats, parseNatsUrl } from "./nats.ts";
export { type SuitePaths, suitePaths } from "./paths.ts";
export { type RealStore, realContainerd, realContainerdRelease, realDockerd } from "./peers.ts";
export { processIdentity, sameProcess } from "./process-identity.ts";
export { AlreadyRunning, leftBehind, stopLeftBehind } from "./record.ts";
export {
  type Bridge,
  type Component,
  type ComponentName,
  componentNames,
  type Launch,
  type Suite,
  type SuiteOptions,
  startSuite,
} from "./suite.ts";
