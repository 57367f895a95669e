export type { SnapshotterOptions } from "./directory-snapshotter.ts";
export { NativeSnapshotter } from "./native-snapshotter.ts";
export { OverlaySnapshotter } from "./overlay-snapshotter.ts";
export type {
  SnapshotInfo,
  SnapshotKind,
  SnapshotMount,
  SnapshotOptions,
  Snapshotter,
  SnapshotUsage,
} from "./snapshotter.ts";
