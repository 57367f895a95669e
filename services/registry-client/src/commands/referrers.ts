import type { Arguments } from "../cli/command.ts";
import { credentialsFor, imageArgument, registryOptions, wantsJson } from "../cli/registry-arguments.ts";
import { printTable } from "../cli/table.ts";
import { Repository } from "../registry/repository.ts";
import { resolve } from "../resolve.ts";

/** `referrers REF` */
export async function printReferrers(args: Arguments, signal: AbortSignal): Promise<number> {
  const reference = imageArgument(args);
  const json = wantsJson(args);
  const credentials = await credentialsFor(args, reference.domain, signal);
  const repository = new Repository(reference, credentials, registryOptions(args));
  const { descriptor } = await resolve(repository, signal);
  const referrers = await repository.referrers(descriptor.digest, args.text("artifact-type"), signal);
  if (json) for (const referrer of referrers) console.log(JSON.stringify(referrer));
  else {
    printTable(
      ["ARTIFACT TYPE", "DIGEST", "SIZE"],
      referrers.map(({ artifactType, digest, size }) => [artifactType, digest, String(size)]),
    );
  }
  return 0;
}
