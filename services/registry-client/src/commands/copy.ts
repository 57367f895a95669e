import type { Arguments } from "../cli/command.ts";
import {
  credentialsFor,
  imageArgument,
  platformArgument,
  registryOptions,
} from "../cli/registry-arguments.ts";
import { remoteImage } from "../image-source.ts";
import { Repository } from "../registry/repository.ts";
import { resolve } from "../resolve.ts";
import { pushAndPrint } from "./push.ts";

/** `copy SOURCE DESTINATION`: blobs pass through, from one answer's body to the other request's. */
export async function copyImage(args: Arguments, signal: AbortSignal): Promise<number> {
  const [from, to] = [imageArgument(args, 0), imageArgument(args, 1)];
  const registry = registryOptions(args);
  const source = new Repository(from, await credentialsFor(args, from.domain, signal), registry);
  const credentials = await credentialsFor(args, to.domain, signal);
  const { descriptor } = await resolve(source, signal);
  const common = {
    credentials,
    source: remoteImage(source),
    nondistributable: args.flag("nondistributable"),
  };
  const job = { ...common, reference: to, target: descriptor, platform: platformArgument(args) };
  const target = await pushAndPrint(job, registry, signal);
  if (args.flag("referrers")) {
    for (const { artifactType: _, ...referrer } of await source.referrers(target.digest, undefined, signal)) {
      const { tag: __, ...repository } = to;
      const reference = { ...repository, digest: referrer.digest };
      await pushAndPrint({ ...common, reference, target: referrer }, registry, signal);
    }
  }
  console.log(target.digest);
  return 0;
}
