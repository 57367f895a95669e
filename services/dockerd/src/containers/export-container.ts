import crypto from "node:crypto";
import { SNAPSHOTTER } from "../containerd/client.ts";
import { withLease } from "../containerd/leases.ts";
import type { Engine } from "../engine.ts";
import { LAYER_TYPES } from "../images/compose-image.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { requireStaying } from "./container-status.ts";

/**
 * All files of a container as a tar: containerd packs them, and the tar is sent from there.
 *
 * @param send called once with the tar's pieces
 */
export async function exportContainer(
  engine: Engine,
  container: Container,
  send: (pieces: AsyncIterable<Buffer>) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { containerd } = engine;
  const { id, record } = container;
  requireStaying("export", record);
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
  emitContainerEvent(engine, container, "export");
}

async function* blob(engine: Engine, digest: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  for await (const { data } of engine.containerd.content.read({ digest, offset: 0n, size: 0n }, { signal }))
    yield data;
}
