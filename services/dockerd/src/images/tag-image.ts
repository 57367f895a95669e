import { EngineError } from "@longshore/errors";
import {
  canonicalString,
  familiarName,
  familiarString,
  parseReference,
  withDefaultTag,
  withTag,
} from "@longshore/reference";
import type { Engine } from "../engine.ts";
import { moveName } from "./give-name.ts";
import { emitImageEvent } from "./image-events.ts";
import { findNamed } from "./inspect-image.ts";

/**
 * Give an image one more name; a name that another image had moves.
 * @throws EngineError `not_found` for the image, `invalid_argument` for the name
 */
export async function tagImage(engine: Engine, source: string, repo: string, tag: string): Promise<void> {
  if (repo === "") throw new EngineError("invalid_argument", "repository name is required");
  const named = parseReference(repo);
  if (named.digest !== undefined) {
    throw new EngineError("invalid_argument", "cannot import digest reference");
  }
  if (familiarName(named) === "sha256") {
    throw new EngineError(
      "invalid_argument",
      "refusing to create an ambiguous tag using digest algorithm as name",
    );
  }
  const reference = withDefaultTag(tag === "" ? named : withTag(named, tag));
  const { image, names } = await findNamed(engine, source);
  const record = await engine.images.get(names[0] ?? "");
  if (!record?.target) throw new EngineError("not_found", `No such image: ${source}`);
  await moveName(engine.images, canonicalString(reference), record.target, image);
  emitImageEvent(engine, image, "tag", { name: familiarString(reference) });
}
