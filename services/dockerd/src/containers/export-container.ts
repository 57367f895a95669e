import crypto from "node:crypto";
import { SNAPSHOTTER } from "../containerd/client.ts";
import { withLease } from "../containerd/leases.ts";
import type { Engine } from "../engine.ts";
import { LAYER_TYPES } from "../images/compose-image.ts";
import type { Container } from "./container.ts";

/**
 * All files of a container as a tar: containerd packs them, and the tar is sent from there.
 *
 * @param send called once with the tar's pieces
 */
export async function exportContainer(
  engine: Engine,
  { id }: Container,
  send: (pieces: AsyncIterable<Buffer>) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { containerd } = engine;
  await withLease(containerd, async (lease) => {
    const { mounts } = await containerd.snapshots.mounts({ snapshotter: SNAPSHOTTER, key: id });
    const { diff } = await containerd.diff.diff(
      {
        left: [],
        right: mounts,
        mediaType: LAYER_TYPES.none,
        ref: `export-${crypto.randomUUID()}`,
        labels: {},
        sourceDateEpoch: undefined,
      },
      { metadata: { "containerd-lease": lease }, signal },
    );
    await send(blob(engine, diff?.digest ?? "", signal));
  });
  engine.events.emit("container", "export", id);
}

async function* blob(engine: Engine, digest: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  for await (const { data } of engine.containerd.content.read({ digest, offset: 0n, size: 0n }, { signal }))
    yield data;
}
