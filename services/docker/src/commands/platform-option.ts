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
