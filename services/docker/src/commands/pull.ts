import {
  canonicalString,
  familiarString,
  parseReference,
  type Reference,
  withDefaultTag,
} from "@longshore/reference";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { EngineClient } from "../engine/client.ts";
import { registryAuth } from "../engine/registry-auth.ts";
import { print } from "../io/output.ts";
import { showProgress } from "../io/progress.ts";
import { checkPlatform } from "./create-options.ts";

export const pull: Command = {
  name: "docker pull",
  usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
  summary: "Download an image from a registry",
  arity: { min: 1, max: 1 },
  flags: [
    {
      name: "all-tags",
      short: "a",
      kind: "bool",
      help: "Download all tagged images in the repository",
    },
    { name: "platform", kind: "string", help: "Set platform; the engine's own is the only one supported" },
    { name: "quiet", short: "q", kind: "bool", help: "Suppress verbose output" },
  ],
  unsupported: ["--disable-content-trust"],
  async run({ client, flags, args: [image = ""] }) {
    checkPlatform(flags);
    const quiet = flags.bool("quiet");
    const given = parseReference(image);
    if (flags.bool("all-tags")) {
      if (given.tag !== undefined || given.digest !== undefined)
        throw new CliError("tag can't be used with --all-tags/-a");
      await pullNamed(client, given, { fd: 1, quiet });
      print(canonicalString(given));
      return 0;
    }
    const reference = withDefaultTag(given);
    if (reference !== given && !quiet) print("Using default tag: latest");
    await pullImage(client, familiarString(reference), { fd: 1, quiet });
    print(canonicalString(reference));
    return 0;
  },
};

/** Have the engine pull an image, showing its progress on a descriptor. */
export async function pullImage(
  client: EngineClient,
  image: string,
  output: { fd: 1 | 2; quiet: boolean },
): Promise<void> {
  await pullNamed(client, withDefaultTag(parseReference(image)), output);
}

/** @param reference without tag and digest: all that the repository has */
async function pullNamed(
  client: EngineClient,
  reference: Reference,
  output: { fd: 1 | 2; quiet: boolean },
): Promise<void> {
  const auth = await registryAuth(reference.domain);
  const { digest, tag, ...repository } = reference;
  const answer = await client.send({
    method: "POST",
    path: "/images/create",
    query: { fromImage: familiarString(repository), tag: digest ?? tag },
    ...(auth && { headers: { "X-Registry-Auth": auth } }),
  });
  await showProgress(answer, output);
}
