import { expect, test } from "bun:test";
import { type DiskUsage, details, type OldDiskUsage, usageOf } from "./disk-usage.ts";

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

test("details() tells of a container what it has written, and of a build cache its records", () => {
  const now = Date.parse("2024-01-01T00:10:00Z");
  const one = {
    Id: "a".repeat(64),
    Names: ["/one"],
    Image: "busybox",
    ImageID: "b",
    Command: "sh",
    State: "exited",
  };
  const usage = {
    ContainerUsage: { Items: [{ ...one, Created: now / 1000 - 60, SizeRw: 12, SizeRootFs: 4_000_000 }] },
    BuildCacheUsage: {
      TotalSize: 2000,
      Items: [
        {
          ...{ ID: "0123456789abcdef", Type: "regular", Size: 2000, InUse: true, Shared: false },
          ...{ CreatedAt: "2024-01-01T00:00:00Z", LastUsedAt: null, UsageCount: 3 },
        },
      ],
    },
  } as unknown as DiskUsage;
  const text = details(usage, now);
  expect(text).toMatch(/"sh" +0 +12B +About a minute ago/);
  expect(text).not.toContain("virtual");
  expect(text).toMatch(
    /Build cache usage: 2kB\n\nCACHE ID +CACHE TYPE +SIZE +CREATED +LAST USED +USAGE +SHARED\n/,
  );
  expect(text).toMatch(/\n0123456789ab\* +regular +2kB +10 minutes ago +3 +false\n$/);
  expect(details({}, now)).toMatch(/Build cache usage: 0B\n\nCACHE ID .*SHARED\n$/);
});
