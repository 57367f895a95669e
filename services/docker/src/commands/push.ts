import {
  canonicalString,
  familiarName,
  familiarString,
  parseReference,
  withDefaultTag,
} from "@longshore/reference";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { EngineClient } from "../engine/client.ts";
import { registryAuth } from "../engine/registry-auth.ts";
import type { FlagValues } from "../flags.ts";
import { print } from "../io/output.ts";
import { showProgress } from "../io/progress.ts";
import { namedPlatforms } from "./platform-option.ts";

/** What says that nobody is logged in. */
const NOBODY = Buffer.from("{}").toString("base64url");

/** The platform that is asked for, with a note on what that means. */
async function pushedPlatform(client: EngineClient, flags: FlagValues): Promise<string | undefined> {
  const asked = flags.string("platform");
  if (asked === "") return undefined;
  const [platform] = await namedPlatforms(client, flags, { kind: "string", since: "1.46" }).catch(
    (error: unknown) => {
      if (error instanceof CliError || !(error instanceof Error)) throw error;
      throw new CliError(`Invalid platform ${asked}${error.message}`);
    },
  );
  printNote(
    [
      "Using --platform pushes only the specified platform manifest of a multi-platform image index.",
      "Other components, like attestations, will not be included.",
      "To push the complete multi-platform image, remove the --platform flag.\n",
    ].join("\n"),
  );
  return platform;
}

interface PushAux {
  manifestPushedInsteadOfIndex?: boolean;
  originalIndex?: { digest?: string };
  selectedManifest?: { digest?: string };
}

function notesOf(aux: unknown): string[] {
  const { manifestPushedInsteadOfIndex, originalIndex, selectedManifest } = aux as PushAux;
  if (!manifestPushedInsteadOfIndex) return [];
  const what =
    "Not all multiplatform-content is present and only the available single-platform image was pushed";
  return [`${what}\n${originalIndex?.digest} -> ${selectedManifest?.digest}`];
}

function printNote(note: string): void {
  const header = " Info -> ";
  const [first, ...more] = note.split("\n");
  print(["", `${header}${first}`, ...more.map((line) => " ".repeat(header.length) + line)].join("\n"));
}

export const push: Command = {
  name: "docker push",
  usage: "[OPTIONS] NAME[:TAG]",
  summary: "Upload an image to a registry",
  arity: { min: 1, max: 1 },
  flags: [
    { name: "all-tags", short: "a", kind: "bool", help: "Push all tags of an image to the repository" },
    {
      name: "platform",
      kind: "string",
      help: "Push a platform-specific manifest as a single-platform image to the registry: 'os[/arch[/variant]]' (eg. linux/amd64)",
    },
    { name: "quiet", short: "q", kind: "bool", help: "Suppress verbose output" },
  ],
  unsupported: ["--disable-content-trust"],
  async run({ client, flags, args: [name = ""] }) {
    const platform = await pushedPlatform(client, flags);
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
      query: { tag: reference.tag, platform },
      headers: { "X-Registry-Auth": (await registryAuth(reference.domain)) ?? NOBODY },
    });
    const notes: string[] = [];
    try {
      await showProgress(answer, { fd: 1, quiet, onAux: (aux) => notes.push(...notesOf(aux)) });
    } finally {
      for (const note of notes) printNote(note);
    }
    if (quiet) print(all ? familiarString(reference) : canonicalString(reference));
    return 0;
  },
};
