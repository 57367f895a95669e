import { type Platform, parsePlatform } from "@longshore/oci";
import { CliError } from "../cli-error.ts";
import { type EngineClient, isOlder } from "../engine/client.ts";
import type { Flag, FlagValues } from "../flags.ts";

export const PLATFORM_FLAG: Flag = {
  name: "platform",
  kind: "string",
  help: "Set platform if server is multi-platform capable",
};

/** The platform that a flag or else the environment asks for, as it is. */
export function wantedPlatform(flags: FlagValues): string | undefined {
  return flags.string("platform") || process.env.DOCKER_DEFAULT_PLATFORM || undefined;
}

/**
 * The platforms that `--platform` names, as the API has them: of one use the last, of a list all.
 *
 * @param since version of the API from which the engine looks at them
 * @throws EngineError `invalid_argument` for what is none, CliError for an older engine
 */
export async function namedPlatforms(
  client: EngineClient,
  flags: FlagValues,
  { kind, since }: { kind: "string" | "list"; since: string },
): Promise<string[]> {
  if (!flags.has("platform")) return [];
  const version = await client.version();
  if (isOlder(version, since)) {
    throw new CliError(
      `"--platform" requires API version ${since}, but the Docker daemon API version is ${version}`,
    );
  }
  const given = kind === "list" ? flags.list("platform") : [flags.string("platform")];
  const names = given.flatMap((one) => (kind === "list" ? one.split(",") : one)).filter((one) => one !== "");
  return names.map((name) => encodePlatform(parsePlatform(name)));
}

function encodePlatform({ os, architecture, variant }: Platform): string {
  return JSON.stringify({ architecture, os, ...(variant !== "" && { variant }) });
}

/** Tell also what is wrong with the flag. */
export async function orInvalidPlatform<T>(platforms: Promise<T>): Promise<T> {
  try {
    return await platforms;
  } catch (error) {
    if (error instanceof CliError || !(error instanceof Error)) throw error;
    throw new CliError(`invalid platform: ${error.message}`);
  }
}
