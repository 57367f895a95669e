import crypto from "node:crypto";
import { type ErrorCode, errorCode } from "@longshore/errors";
import { type ContainerdClient, SNAPSHOTTER } from "./client.ts";

/** Whose lease it is: an engine's id. */
const OWNER_LABEL = "longshore.engine";
/** Begins the key of a snapshot that a layer is being unpacked into. */
export const UNFINISHED = "extract-";

const LONGEST_MS = 24 * 3600_000;
const RETRY_MS = 1000;
/** What a call fails with whose other side has ended. */
const BROKEN: readonly ErrorCode[] = ["unavailable", "canceled"];

/**
 * Do some work under a lease that protects what it writes until something refers to it.
 *
 * @param work gets the lease's id
 */
export async function withLease<T>(
  containerd: ContainerdClient,
  work: (lease: string) => Promise<T>,
): Promise<T> {
  const id = `dockerd-${crypto.randomUUID()}`;
  const expires = new Date(Date.now() + LONGEST_MS).toISOString();
  await containerd.leases.create({
    id,
    labels: { "containerd.io/gc.expire": expires, [OWNER_LABEL]: containerd.engineId },
  });
  try {
    return await work(id);
  } finally {
    await endLease(containerd, id);
  }
}

/** End the leases that an earlier life of this daemon has left when it was killed, and take away what was being unpacked. */
export async function endStaleLeases(containerd: ContainerdClient): Promise<void> {
  const { leases } = await containerd.leases.list({ filters: [] });
  const own = leases.filter(({ labels }) => labels[OWNER_LABEL] === containerd.engineId);
  await Promise.all(
    own.map(async ({ id }) => {
      await removeUnfinished(containerd, id);
      await endLease(containerd, id);
    }),
  );
}

/** Garbage collection would leave them a while: somebody might be at work on them. */
async function removeUnfinished({ leases, snapshots }: ContainerdClient, id: string): Promise<void> {
  const { resources } = await leases.listResources({ id });
  for (const { type, id: key } of resources) {
    if (type !== `snapshots/${SNAPSHOTTER}` || !key.startsWith(UNFINISHED)) continue;
    await cleanUp(() => snapshots.remove({ snapshotter: SNAPSHOTTER, key }));
  }
}

function endLease(containerd: ContainerdClient, id: string): Promise<void> {
  return cleanUp(() => containerd.leases.delete({ id, sync: false }));
}

/** Take something away that may be gone already. While containerd is away nobody waits: it is told when it is back. */
export async function cleanUp(removal: () => Promise<unknown>): Promise<void> {
  try {
    await removal();
  } catch (error) {
    if (errorCode(error) === "not_found") return;
    if (!BROKEN.includes(errorCode(error))) throw error;
    setTimeout(() => void cleanUp(removal).catch(() => {}), RETRY_MS).unref();
  }
}
