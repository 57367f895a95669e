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
import { PLATFORM_FLAG, wantedPlatform } from "./platform-option.ts";

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
    PLATFORM_FLAG,
    { name: "quiet", short: "q", kind: "bool", help: "Suppress verbose output" },
  ],
  unsupported: ["--disable-content-trust"],
  async run({ client, flags, args: [image = ""] }) {
    const quiet = flags.bool("quiet");
    const options = { fd: 1, quiet, platform: wantedPlatform(flags) } as const;
    const given = parseReference(image);
    if (flags.bool("all-tags")) {
      if (given.tag !== undefined || given.digest !== undefined)
        throw new CliError("tag can't be used with --all-tags/-a");
      await pullNamed(client, given, options);
      print(canonicalString(given));
      return 0;
    }
    const reference = withDefaultTag(given);
    if (reference !== given && !quiet) print("Using default tag: latest");
    await pullImage(client, familiarString(reference), options);
    print(canonicalString(reference));
    return 0;
  },
};

interface PullOptions {
  /** Where progress is shown. */
  fd: 1 | 2;
  quiet: boolean;
  platform: string | undefined;
}

/** Have the engine pull an image, showing its progress on a descriptor. */
export async function pullImage(client: EngineClient, image: string, options: PullOptions): Promise<void> {
  await pullNamed(client, withDefaultTag(parseReference(image)), options);
}

/** @param reference without tag and digest: all that the repository has */
async function pullNamed(client: EngineClient, reference: Reference, options: PullOptions): Promise<void> {
  const auth = await registryAuth(reference.domain);
  const { digest, tag, ...repository } = reference;
  const answer = await client.send({
    method: "POST",
    path: "/images/create",
    query: { fromImage: familiarString(repository), tag: digest ?? tag, platform: options.platform },
    ...(auth && { headers: { "X-Registry-Auth": auth } }),
  });
  await showProgress(answer, options);
}
