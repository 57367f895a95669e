import crypto from "node:crypto";
import { type ErrorCode, errorCode } from "@longshore/errors";
import { type ContainerdClient, SNAPSHOTTER } from "./client.ts";

/** Whose lease it is: an engine's id. */
const OWNER_LABEL = "longshore.engine";
/** What it is for, of work that the next attempt goes on with. */
const RESUMES_LABEL = "longshore.resumes";
/** What a lease may hold that came from a registry. */
const FETCHED: readonly string[] = ["content", "ingests"];
const INTERRUPTIONS: readonly ErrorCode[] = ["canceled", "unavailable", "deadline_exceeded", "aborted"];

/** Begins the key of a snapshot that a layer is being unpacked into. */
export const UNFINISHED = "extract-";

const LONGEST_MS = 24 * 3600_000;
const RETRY_MS = 1000;
const RETRIES = 600;
/** What a call fails with whose other side has ended. */
const BROKEN: readonly ErrorCode[] = ["unavailable", "canceled", "unknown"];

/** Leases under which this process is doing something. */
const atWork = new Set<string>();

export interface LeaseOptions {
  /**
   * What it is for, when what was fetched is to be there for the next attempt: failures that say nothing about it then leave the content
   * under the lease, until that attempt succeeds, at most a day.
   */
  resumes?: string;
}

/**
 * Do some work under a lease that protects what it writes until something refers to it.
 *
 * @param work gets the lease's id
 */
export async function withLease<T>(
  containerd: ContainerdClient,
  work: (lease: string) => Promise<T>,
  { resumes }: LeaseOptions = {},
): Promise<T> {
  const label = resumes === undefined ? undefined : labelOf(resumes);
  const id = `dockerd-${crypto.randomUUID()}`;
  let result: T;
  atWork.add(id);
  try {
    await createLease(containerd, id, label === undefined ? {} : { [RESUMES_LABEL]: label });
    result = await work(id);
  } catch (error) {
    atWork.delete(id);
    if (label !== undefined && isInterruption(error)) await keepFetched(containerd, id);
    else await endLease(containerd, id);
    throw error;
  }
  atWork.delete(id);
  await endLease(containerd, id);
  if (label !== undefined) await endKept(containerd, label);
  return result;
}

async function createLease(
  containerd: ContainerdClient,
  id: string,
  labels: Record<string, string>,
): Promise<void> {
  const expires = new Date(Date.now() + LONGEST_MS).toISOString();
  await containerd.leases.create({
    id,
    labels: { "containerd.io/gc.expire": expires, [OWNER_LABEL]: containerd.engineId, ...labels },
  });
}

/** Let a lease hold only what has been fetched under it, blobs that are not whole among it. */
function keepFetched(containerd: ContainerdClient, id: string): Promise<void> {
  const { leases } = containerd;
  return cleanUp(async () => {
    await removeUnfinished(containerd, id);
    const { resources } = await leases.listResources({ id });
    for (const resource of resources) {
      if (!FETCHED.includes(resource.type)) await leases.deleteResource({ id, resource });
    }
  });
}

/** It was broken off, or somebody was away. */
function isInterruption(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return INTERRUPTIONS.includes(errorCode(cause));
}

/** Labels may be shorter than names. */
function labelOf(name: string): string {
  return crypto.createHash("sha256").update(name).digest("hex");
}

/**
 * Let go of what interrupted work has left.
 *
 * @param label of certain work; all, and wait until it is gone, when left out
 */
export async function endKept(containerd: ContainerdClient, label?: string): Promise<void> {
  const sync = label === undefined;
  const kept = await keptLeases(containerd, label);
  await Promise.all(kept.map((id) => cleanUp(() => containerd.leases.delete({ id, sync }))));
}

/** @returns ids */
async function keptLeases({ leases, engineId }: ContainerdClient, label?: string): Promise<string[]> {
  const all = (await leases.list({ filters: [] })).leases;
  const kept = all.filter(
    ({ id, labels: { [OWNER_LABEL]: owner, [RESUMES_LABEL]: resumes } }) =>
      owner === engineId &&
      resumes !== undefined &&
      (label === undefined || resumes === label) &&
      !atWork.has(id),
  );
  return kept.map(({ id }) => id);
}

/**
 * Let go of all that interrupted work has left, and wait until it is gone.
 *
 * @returns how many bytes of blobs, whole ones and others, that has freed
 */
export async function reclaimKept(containerd: ContainerdClient): Promise<number> {
  const ids = await keptLeases(containerd);
  if (ids.length === 0) return 0;
  const held = await Promise.all(ids.map((id) => containerd.leases.listResources({ id })));
  const resources = held.flatMap((one) => one.resources);
  const named = (type: string) => new Set(resources.filter((one) => one.type === type).map(({ id }) => id));
  const [content, ingests] = [named("content"), named("ingests")];
  const before = await fetchedSizes(containerd, content, ingests);
  await endKept(containerd);
  const after = await fetchedSizes(containerd, content, ingests);
  let freed = 0;
  for (const [name, size] of before) if (!after.has(name)) freed += size;
  return freed;
}

/** Of those that are there. */
async function fetchedSizes(
  { content }: ContainerdClient,
  digests: ReadonlySet<string>,
  refs: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const digest of digests) {
    try {
      sizes.set(`content ${digest}`, Number((await content.info({ digest })).info?.size ?? 0n));
    } catch (error) {
      if (errorCode(error) !== "not_found") throw error;
    }
  }
  const { statuses } = await content.listStatuses({ filters: [] });
  for (const { ref, offset } of statuses) if (refs.has(ref)) sizes.set(`ingest ${ref}`, Number(offset));
  return sizes;
}

/**
 * Put in order what an earlier life of this daemon has left when it was killed: what was being unpacked goes, what had been fetched stays
 * for the next attempt.
 */
export async function settleLeases(containerd: ContainerdClient): Promise<void> {
  const { leases } = await containerd.leases.list({ filters: [] });
  const own = leases.filter(({ labels }) => labels[OWNER_LABEL] === containerd.engineId);
  await Promise.all(
    own.map(async ({ id, labels }) => {
      if (labels[RESUMES_LABEL] !== undefined) return keepFetched(containerd, id);
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
export async function cleanUp(removal: () => Promise<unknown>, attempts = RETRIES): Promise<void> {
  try {
    await removal();
  } catch (error) {
    if (errorCode(error) === "not_found") return;
    if (!BROKEN.includes(errorCode(error)) || attempts === 0) throw error;
    setTimeout(() => void cleanUp(removal, attempts - 1).catch(() => {}), RETRY_MS).unref();
  }
}
