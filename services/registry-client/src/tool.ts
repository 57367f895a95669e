import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { toEngineError } from "@longshore/errors";
import { canonicalString, familiarString, parseReference, withDefaultTag } from "@longshore/reference";
import { createClient } from "@longshore/rpc";
import { BlobFetcher } from "./blob-fetcher.ts";
import { ContainerdChannels } from "./containerd-channels.ts";
import { ContentStore } from "./content-store.ts";
import { toWireDescriptor } from "./convert.ts";
import { type PullFlags, parsePullFlags, parseToolFlags, type ToolFlags } from "./flags.ts";
import type { Descriptor } from "./manifest.ts";
import { formatPlatform, hostPlatform } from "./platform.ts";
import { type PullEvent, pull, resolve } from "./pull.ts";
import { ANONYMOUS, type Credentials } from "./registry/authorizer.ts";

const LEASE_HOURS = 24;
const PROGRESS_LINE_MS = 1000;

/** `resolve REF`: one JSON object on stdout. */
export async function runResolve(args: string[], signal: AbortSignal): Promise<number> {
  const flags = parseToolFlags("resolve", args);
  const reference = withDefaultTag(parseReference(flags.reference));
  const credentials = await readCredentials(flags);
  const { target, platforms } = await resolve({ reference, credentials }, flags.hosts, signal);
  console.log(
    JSON.stringify({
      reference: canonicalString(reference),
      mediaType: target.mediaType,
      digest: target.digest,
      size: target.size,
      platforms: platforms.map(formatPlatform),
    }),
  );
  return 0;
}

/** `manifest REF`: the bytes as they are, so that their digest can be checked. */
export async function runManifest(args: string[], signal: AbortSignal): Promise<number> {
  const flags = parseToolFlags("manifest", args);
  const reference = withDefaultTag(parseReference(flags.reference));
  const credentials = await readCredentials(flags);
  const { bytes } = await resolve({ reference, credentials }, flags.hosts, signal);
  await Bun.write(Bun.stdout, bytes);
  return 0;
}

/** `pull REF`: progress on stderr, the digest on stdout, the image in containerd under its canonical name. */
export async function runPull(args: string[], signal: AbortSignal): Promise<number> {
  const flags = parsePullFlags(args);
  const reference = withDefaultTag(parseReference(flags.reference));
  const credentials = await readCredentials(flags);
  using channels = new ContainerdChannels(flags.containerd);
  const metadata = { "containerd-namespace": flags.namespace };
  const leases = createClient(channels.shared, LeasesDefinition, { metadata });
  const expires = new Date(Date.now() + LEASE_HOURS * 3_600_000).toISOString();
  const { lease } = await leases.create(
    { id: `registry-client-${crypto.randomUUID()}`, labels: { "containerd.io/gc.expire": expires } },
    { signal },
  );
  const leaseId = lease?.id ?? "";
  try {
    const target = await pullWith(flags, { credentials, leaseId, channels, signal });
    await recordImage(channels, metadata, canonicalString(reference), target);
    console.log(target.digest);
    return 0;
  } finally {
    await leases.delete({ id: leaseId, sync: false });
  }
}

async function pullWith(
  flags: PullFlags,
  deps: {
    credentials: Credentials;
    leaseId: string;
    channels: ContainerdChannels;
    signal: AbortSignal;
  },
): Promise<Descriptor> {
  const reference = withDefaultTag(parseReference(flags.reference));
  const job = {
    reference,
    platform: flags.platform ?? hostPlatform(),
    credentials: deps.credentials,
    store: new ContentStore(deps.channels, { namespace: flags.namespace, lease: deps.leaseId }),
  };
  console.error(`Pulling ${familiarString(reference)}`);
  const print = progressPrinter();
  for await (const event of pull(job, { blobs: new BlobFetcher(), registry: flags.hosts }, deps.signal)) {
    print(event);
    if (event.kind === "done") return event.target;
  }
  throw new Error("the pull ended without a result");
}

/** One line for each change of a blob's state, and once a second while it is downloaded. */
function progressPrinter(): (event: PullEvent) => void {
  const printed = new Map<string, { state: string; at: number }>();
  return (event) => {
    if (event.kind !== "progress") return;
    const { digest, state, offset, total } = event.progress;
    const before = printed.get(digest);
    const now = performance.now();
    if (before?.state === state && now - before.at < PROGRESS_LINE_MS) return;
    printed.set(digest, { state, at: now });
    const short = digest.slice(digest.indexOf(":") + 1).slice(0, 12);
    console.error(`${short}: ${state}${state === "downloading" ? ` ${offset}/${total}` : ""}`);
  };
}

async function recordImage(
  channels: ContainerdChannels,
  metadata: Record<string, string>,
  name: string,
  target: Descriptor,
): Promise<void> {
  const images = createClient(channels.shared, ImagesDefinition, { metadata });
  const image = {
    name,
    labels: {},
    target: toWireDescriptor(target),
    createdAt: undefined,
    updatedAt: undefined,
  };
  try {
    await images.create({ image, sourceDateEpoch: undefined });
  } catch (error) {
    if (toEngineError(error).code !== "already_exists") throw error;
    await images.update({ image, updateMask: ["target"], sourceDateEpoch: undefined });
  }
}

async function readCredentials({ username, passwordStdin }: ToolFlags): Promise<Credentials> {
  if (!passwordStdin) return ANONYMOUS;
  const password = (await Bun.stdin.text()).replace(/\r?\n$/, "");
  return { ...ANONYMOUS, username, password };
}
