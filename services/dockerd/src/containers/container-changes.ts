import { type PathChange, upperChanges } from "@longshore/archive";
import { SNAPSHOTTER } from "../containerd/client.ts";
import type { Engine } from "../engine.ts";
import { layersOf } from "../spec/layered-root.ts";
import type { Container } from "./container.ts";

/** The API's numbers for what became of a path. */
const KIND: Record<PathChange["kind"], number> = { modified: 0, added: 1, deleted: 2 };

/** What a container has changed of its image's files, as `GET /containers/{id}/changes`; null when nothing. */
export async function containerChanges(engine: Engine, { id }: Container): Promise<object[] | null> {
  const { mounts } = await engine.containerd.snapshots.mounts({ snapshotter: SNAPSHOTTER, key: id });
  const [upper, ...lower] = layersOf(mounts);
  if (upper === undefined) return null;
  const changes = await upperChanges(upper, lower);
  if (changes.length === 0) return null;
  return changes.map(({ path, kind }) => ({
    Path: `/${Buffer.from(path, "latin1").toString()}`,
    Kind: KIND[kind],
  }));
}
