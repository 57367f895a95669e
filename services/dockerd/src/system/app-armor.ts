import fs from "node:fs";
import { EngineError } from "@longshore/errors";
import type { HostConfig } from "../containers/container-config.ts";
import { parseSecurityOptions } from "../spec/security-options.ts";
import { hasAppArmor } from "./app-armor-host.ts";
import { defaultProfile } from "./app-armor-profile.ts";
import { readOr } from "./host-facts.ts";

/** Has Docker's name, and its rules: users name it, and a Docker on the same host shares it. */
export const DEFAULT_PROFILE = "docker-default";
const UNCONFINED = "unconfined";
const PARSER_TIMEOUT_MS = 30_000;

let loading: Promise<void> | undefined;

/** The AppArmor profile of a container and of its execs; undefined where the kernel has no AppArmor. */
export function appArmorProfileOf({ Privileged, SecurityOpt }: HostConfig): string | undefined {
  if (!hasAppArmor()) return undefined;
  if (Privileged) return UNCONFINED;
  return parseSecurityOptions(SecurityOpt).appArmor || DEFAULT_PROFILE;
}

/**
 * Load the default profile, unless it is loaded or another profile is wanted. Others on the host may
 * unload it at any time.
 * @throws EngineError `internal`, in Docker's words, when it can't be loaded
 */
export async function ensureProfile(wanted: string | undefined = DEFAULT_PROFILE): Promise<void> {
  if (wanted !== DEFAULT_PROFILE || !hasAppArmor() || isLoaded(DEFAULT_PROFILE)) return;
  loading ??= load().finally(() => {
    loading = undefined;
  });
  await loading;
}

function isLoaded(name: string): boolean {
  try {
    const profiles = fs.readFileSync("/sys/kernel/security/apparmor/profiles", "utf8");
    return profiles.split("\n").some((line) => line.startsWith(`${name} (`));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const message = `Could not check if ${name} AppArmor profile was loaded: ${reason}`;
    throw new EngineError("internal", message, { cause: error });
  }
}

async function load(): Promise<void> {
  try {
    // The name of our own profile, of which we may send signals to containers.
    const own = readOr("/proc/self/attr/current", UNCONFINED).trim().split(" ", 1)[0] || UNCONFINED;
    const text = defaultProfile({
      name: DEFAULT_PROFILE,
      daemon: own,
      hasTunables: fs.existsSync("/etc/apparmor.d/tunables/global"),
      hasBase: fs.existsSync("/etc/apparmor.d/abstractions/base"),
    });
    // -K: not from, nor into, its cache; -r: in place of one of that name. The text is read from stdin.
    const parser = Bun.spawn(["apparmor_parser", "-Kr"], {
      stdin: Buffer.from(text),
      stdout: "ignore",
      stderr: "pipe",
      timeout: PARSER_TIMEOUT_MS,
    });
    const [status, output] = await Promise.all([parser.exited, new Response(parser.stderr).text()]);
    if (status !== 0) throw new Error(`apparmor_parser: ${output.trim() || `exit status ${status}`}`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new EngineError(
      "internal",
      `AppArmor enabled on system but the ${DEFAULT_PROFILE} profile could not be loaded: ${reason}`,
      { cause: error },
    );
  }
}
