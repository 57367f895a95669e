import { EngineError } from "@longshore/errors";
import { familiarName, parseReference, type Reference, withDefaultTag } from "@longshore/reference";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";

export const tag: Command = {
  name: "docker tag",
  usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  summary: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
  arity: { min: 2, max: 2 },
  flags: [],
  async run({ client, args: [source = "", target = ""] }) {
    const reference = parseTarget(target);
    if (reference.digest !== undefined) {
      throw new CliError("refusing to create a tag with a digest reference");
    }
    await client.text({
      method: "POST",
      path: `/images/${source}/tag`,
      query: { repo: familiarName(reference), tag: reference.tag },
    });
    return 0;
  },
};

/** The name that an image is to get, with its tag. @throws CliError in Docker's words */
export function parseTarget(target: string): Reference {
  try {
    return withDefaultTag(parseReference(target));
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw new CliError(
      `Error parsing reference: ${JSON.stringify(target)} is not a valid repository/tag: ${error.message}`,
    );
  }
}
