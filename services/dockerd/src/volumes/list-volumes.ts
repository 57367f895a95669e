import os from "node:os";
import { EngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Filters } from "../http/filters.ts";
import { ENGINE_LABEL, isMeant } from "../state/fleet.ts";
import { directorySize } from "./volume-size.ts";
import type { VolumeRecord } from "./volumes.ts";

export const VOLUME_FILTERS = ["dangling", "driver", "engine", "label", "name"] as const;

/** Volumes that fit the filters as `GET /volumes` shows them; with the filter `engine`, those of the engines that it names. */
export async function listVolumes(engine: Engine, filters: Filters): Promise<object[]> {
  const dangling = filters.boolean("dangling");
  const fits = ({ name, driver, labels }: VolumeRecord) =>
    filters.match("driver", (wanted) => wanted === driver) &&
    filters.matchPattern("name", name) &&
    filters.matchLabels(labels ?? {});
  const own = engine.volumes
    .list()
    .filter(
      (volume) =>
        (dangling === undefined || dangling === (engine.volumes.usersOf(volume.name).length === 0)) &&
        fits(volume),
    );
  const engines = filters.get("engine");
  if (engines.length === 0) return own.map((volume) => showVolume(engine, volume));
  if (dangling !== undefined) {
    const message =
      "the filters dangling and engine don't go together: only its own engine knows who uses a volume";
    throw new EngineError("invalid_argument", message);
  }
  const labelled = (volume: VolumeRecord, name: string) => ({
    ...volume,
    labels: { ...volume.labels, [ENGINE_LABEL]: name },
  });
  const mine = isMeant(engine.id, engines)
    ? own.map((volume) => showVolume(engine, labelled(volume, os.hostname())))
    : [];
  const others = (await engine.fleet?.meant(engines))?.others ?? [];
  const theirs = await Promise.all(
    others.map(async (other) =>
      ((await engine.fleet?.volumes(other)) ?? [])
        .filter(fits)
        .map((volume) => ({ ...showVolume(engine, labelled(volume, other.name)), Mountpoint: "" })),
    ),
  );
  return [...mine, ...theirs.flat()];
}

/** Whether a volume is a directory of this engine's, and no file system that somebody has described. */
export function isPlain({ options }: VolumeRecord): boolean {
  return Object.keys(options ?? {}).length === 0;
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

/** A volume, and what of it is used. */
export interface UsedVolume {
  UsageData: { RefCount: number; Size: number };
}

/** Volumes, with what they take up and how many containers have them; not those of options, whose files may be anywhere. */
export async function volumeUsage(engine: Engine): Promise<UsedVolume[]> {
  return Promise.all(
    engine.volumes
      .list()
      .filter(isPlain)
      .map(async (record) => ({
        ...showVolume(engine, record),
        UsageData: {
          RefCount: engine.volumes.usersOf(record.name).length,
          Size: await directorySize(engine.volumes.mountpoint(record.name)),
        },
      })),
  );
}
