export { OverlaySnapshotter } from "./overlay-snapshotter.ts";
export type {
  SnapshotInfo,
  SnapshotKind,
  SnapshotMount,
  SnapshotOptions,
  Snapshotter,
  SnapshotUsage,
} from "./snapshotter.ts";
