import { expect, test } from "bun:test";
import { type OldDiskUsage, usageOf } from "./disk-usage.ts";

test("usageOf() adds up what an engine of before told in lists", () => {
  const answer = {
    LayersSize: 100,
    Images: [
      { Containers: 1, Size: 40, SharedSize: 10 },
      { Containers: 0, Size: 60, SharedSize: 10 },
      { Containers: -1, Size: 5, SharedSize: -1 },
    ],
    Containers: [{ State: "running", SizeRw: 3 }, { State: "exited", SizeRw: 4 }, { State: "created" }],
    Volumes: [
      { Name: "a", UsageData: { Size: 7, RefCount: 1 } },
      { Name: "b", UsageData: { Size: 8, RefCount: 0 } },
      { Name: "c", UsageData: { Size: -1, RefCount: 0 } },
    ],
    BuildCache: [
      { Size: 1, InUse: true, Shared: false },
      { Size: 2, InUse: false, Shared: false },
      { Size: 4, InUse: false, Shared: true },
    ],
  } as OldDiskUsage;
  expect(usageOf(answer)).toMatchObject({
    ImageUsage: { ActiveCount: 1, TotalCount: 3, TotalSize: 100, Reclaimable: 50 },
    ContainerUsage: { ActiveCount: 1, TotalCount: 3, TotalSize: 7, Reclaimable: 4 },
    VolumeUsage: { ActiveCount: 1, TotalCount: 3, TotalSize: 15, Reclaimable: 8 },
    BuildCacheUsage: { ActiveCount: 1, TotalCount: 3, TotalSize: 3, Reclaimable: 2 },
  });
  expect(usageOf({ Images: null })).toMatchObject({ ImageUsage: { TotalCount: 0, TotalSize: 0 } });
});
