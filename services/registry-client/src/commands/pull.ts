import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { toEngineError } from "@longshore/errors";
import { hostPlatform } from "@longshore/oci";
import { canonicalString, familiarString } from "@longshore/reference";
import { createClient } from "@longshore/rpc";
import { BlobFetcher } from "../blob-fetcher.ts";
import type { Arguments } from "../cli/command.ts";
import {
  CONTAINERD_SOCKET,
  credentialsFor,
  imageArgument,
  platformArgument,
  registryOptions,
} from "../cli/registry-arguments.ts";
import { ContainerdChannels } from "../containerd-channels.ts";
import { ContentStore } from "../content-store.ts";
import { toWireDescriptor } from "../convert.ts";
import type { Descriptor } from "../manifest.ts";
import { type PullJob, pull } from "../pull.ts";
import type { RateLimit } from "../registry/rate-limit.ts";
import type { RegistryOptions } from "../registry/session.ts";
import { progressPrinter } from "./progress-lines.ts";

const LEASE_HOURS = 24;

/** `pull REF`: progress on stderr, the digest on stdout, the image in containerd under its canonical name. */
export async function pullImage(args: Arguments, signal: AbortSignal): Promise<number> {
  const reference = imageArgument(args);
  const namespace = args.text("namespace") ?? "default";
  const platform = platformArgument(args) ?? hostPlatform();
  const registry = registryOptions(args);
  const credentials = await credentialsFor(args, reference.domain, signal);
  using channels = new ContainerdChannels(args.text("containerd") ?? CONTAINERD_SOCKET);
  const metadata = { "containerd-namespace": namespace };
  const leases = createClient(channels.shared, LeasesDefinition, { metadata });
  const expires = new Date(Date.now() + LEASE_HOURS * 3_600_000).toISOString();
  const { lease } = await leases.create(
    { id: `registry-client-${crypto.randomUUID()}`, labels: { "containerd.io/gc.expire": expires } },
    { signal },
  );
  const leaseId = lease?.id ?? "";
  try {
    const store = new ContentStore(channels, { namespace, lease: leaseId });
    const target = await run({ reference, platform, credentials, store }, registry, signal);
    await recordImage(channels, metadata, canonicalString(reference), target);
    console.log(target.digest);
    return 0;
  } finally {
    await leases.delete({ id: leaseId, sync: false });
  }
}

async function run(job: PullJob, registry: RegistryOptions, signal: AbortSignal): Promise<Descriptor> {
  console.error(`Pulling ${familiarString(job.reference)}`);
  const print = progressPrinter("downloading");
  for await (const event of pull(job, { blobs: new BlobFetcher(), registry }, signal)) {
    if (event.kind === "progress") print(event.progress);
    if (event.kind === "resolved" && event.rateLimit) printRateLimit(event.rateLimit);
    if (event.kind === "done") return event.target;
  }
  throw new Error("the pull ended without a result");
}

function printRateLimit({ limit, remaining, windowS }: RateLimit): void {
  const window = windowS > 0 ? ` in ${Math.round(windowS / 3600)} h` : "";
  console.error(`The registry allows ${limit} pulls${window}; ${remaining} remain`);
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
