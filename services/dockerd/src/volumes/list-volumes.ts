import type { Engine } from "../engine.ts";
import type { Filters } from "../http/filters.ts";
import { directorySize } from "./volume-size.ts";
import type { VolumeRecord } from "./volumes.ts";

export const VOLUME_FILTERS = ["dangling", "driver", "label", "name"] as const;

/** Volumes that fit the filters, by name. */
export function findVolumes(engine: Engine, filters: Filters): VolumeRecord[] {
  const dangling = filters.boolean("dangling");
  return engine.volumes
    .list()
    .filter(
      ({ name, driver, labels }) =>
        (dangling === undefined || dangling === (engine.volumes.usersOf(name).length === 0)) &&
        filters.match("driver", (wanted) => wanted === driver) &&
        filters.match("name", (part) => name.includes(part)) &&
        filters.matchLabels(labels ?? {}),
    );
}

/** A volume as the API shows it. */
export function showVolume(
  engine: Engine,
  { name, driver, createdAt, labels, options }: VolumeRecord,
): object {
  return {
    CreatedAt: createdAt,
    Driver: driver,
    Labels: labels,
    Mountpoint: engine.volumes.mountpoint(name),
    Name: name,
    Options: options,
    Scope: "local",
  };
}

/** All volumes, with what they take up and how many containers have them. */
export async function volumeUsage(engine: Engine): Promise<object[]> {
  return Promise.all(
    engine.volumes.list().map(async (record) => ({
      ...showVolume(engine, record),
      UsageData: {
        RefCount: engine.volumes.usersOf(record.name).length,
        Size: await directorySize(engine.volumes.mountpoint(record.name)),
      },
    })),
  );
}
