import {
  canonicalString,
  familiarName,
  familiarString,
  parseReference,
  withDefaultTag,
} from "@longshore/reference";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { registryAuth } from "../engine/registry-auth.ts";
import { print } from "../io/output.ts";
import { showProgress } from "../io/progress.ts";

/** What says that nobody is logged in. */
const NOBODY = Buffer.from("{}").toString("base64url");

export const push: Command = {
  name: "docker push",
  usage: "[OPTIONS] NAME[:TAG]",
  summary: "Upload an image to a registry",
  arity: { min: 1, max: 1 },
  flags: [
    { name: "all-tags", short: "a", kind: "bool", help: "Push all tags of an image to the repository" },
    { name: "quiet", short: "q", kind: "bool", help: "Suppress verbose output" },
  ],
  unsupported: ["--platform", "--disable-content-trust"],
  async run({ client, flags, args: [name = ""] }) {
    const given = parseReference(name);
    const all = flags.bool("all-tags");
    const quiet = flags.bool("quiet");
    if (all && (given.tag !== undefined || given.digest !== undefined)) {
      throw new CliError("tag can't be used with --all-tags/-a");
    }
    const reference = all ? given : withDefaultTag(given);
    if (reference !== given && !quiet) print(`Using default tag: ${reference.tag}`);
    const answer = await client.send({
      method: "POST",
      path: `/images/${familiarName(reference)}/push`,
      query: { tag: reference.tag },
      headers: { "X-Registry-Auth": (await registryAuth(reference.domain)) ?? NOBODY },
    });
    await showProgress(answer, { fd: 1, quiet });
    if (quiet) print(all ? familiarString(reference) : canonicalString(reference));
    return 0;
  },
};
