import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { EngineError, errorCode } from "@longshore/errors";
import { canonicalString, familiarName, parseReference, withDefaultTag } from "@longshore/reference";
import { createClient } from "@longshore/rpc";
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
import { fromWireDescriptor } from "../convert.ts";
import { storedImage } from "../image-source.ts";
import type { Descriptor } from "../manifest.ts";
import { type PushEvent, type PushJob, push } from "../push.ts";
import type { RegistryOptions } from "../registry/session.ts";
import { progressPrinter } from "./progress-lines.ts";

/** `push IMAGE [REF]`: an image of a containerd to the registry of its name, or of another one; its digest on stdout. */
export async function pushImage(args: Arguments, signal: AbortSignal): Promise<number> {
  const name = canonicalString(withDefaultTag(parseReference(args.positional(0))));
  const reference = imageArgument(args, args.positionals.length - 1);
  const namespace = args.text("namespace") ?? "default";
  const registry = registryOptions(args);
  const credentials = await credentialsFor(args, reference.domain, signal);
  using channels = new ContainerdChannels(args.text("containerd") ?? CONTAINERD_SOCKET);
  const job: PushJob = {
    ...{ reference, credentials },
    target: await imageTarget(channels, namespace, name, signal),
    source: storedImage(new ContentStore(channels, { namespace })),
    platform: platformArgument(args),
    nondistributable: args.flag("nondistributable"),
  };
  const target = await pushAndPrint(job, registry, signal);
  console.log(target.digest);
  return 0;
}

/** Run a push with a line on stderr for each step of a blob. */
export async function pushAndPrint(
  job: PushJob,
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<Descriptor> {
  console.error(`Pushing to ${familiarName(job.reference)}`);
  const print = progressPrinter("uploading");
  for await (const event of push(job, registry, signal)) {
    printEvent(event, print);
    if (event.kind === "done") return event.target;
  }
  throw new Error("the push ended without a result");
}

function printEvent(event: PushEvent, print: ReturnType<typeof progressPrinter>): void {
  if (event.kind !== "progress") return;
  const { progress } = event;
  print({ ...progress, ...(progress.mountedFrom && { more: `from ${progress.mountedFrom}` }) });
}

async function imageTarget(
  channels: ContainerdChannels,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<Descriptor> {
  const metadata = { "containerd-namespace": namespace };
  const images = createClient(channels.shared, ImagesDefinition, { metadata });
  try {
    const { image } = await images.get({ name }, { signal });
    return fromWireDescriptor(image?.target);
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
    throw new EngineError("not_found", `containerd has no image ${name} in namespace ${namespace}`);
  }
}
