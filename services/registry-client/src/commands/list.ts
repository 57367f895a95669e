import { parseReference } from "@longshore/reference";
import type { Arguments } from "../cli/command.ts";
import { credentialsFor, registryOptions } from "../cli/registry-arguments.ts";
import { catalog } from "../registry/catalog.ts";
import { Repository } from "../registry/repository.ts";

/** `list REPOSITORY`, or `list HOST/`: one name a line. */
export async function list(args: Arguments, signal: AbortSignal): Promise<number> {
  const what = args.positional(0);
  const registry = registryOptions(args);
  const names = what.endsWith("/") ? await repositories(what.slice(0, -1)) : await tags(parseReference(what));
  for (const name of names.toSorted()) console.log(name);
  return 0;

  async function repositories(domain: string): Promise<string[]> {
    return catalog(domain, { credentials: await credentialsFor(args, domain, signal), registry, signal });
  }
  async function tags(reference: ReturnType<typeof parseReference>): Promise<string[]> {
    const credentials = await credentialsFor(args, reference.domain, signal);
    return new Repository(reference, credentials, registry).tags(signal);
  }
}
