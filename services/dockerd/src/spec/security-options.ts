import { EngineError } from "@longshore/errors";
import { hasAppArmor } from "../system/app-armor-host.ts";
import { parseProfile, type SeccompProfile } from "./seccomp-profile.ts";

/** What `--security-opt` asks for. */
export interface SecurityOptions {
  noNewPrivileges: boolean;
  seccomp: "default" | "unconfined" | SeccompProfile;
  /** Name of an AppArmor profile; undefined or empty for the default. */
  appArmor: string | undefined;
  /** /sys/fs/cgroup can be written to. */
  writableCgroups: boolean;
  /** /proc and /sys without masked and read-only paths. */
  unconfinedSystemPaths: boolean;
}

/**
 * @throws EngineError `invalid_argument` for an option that is unknown or not carried out
 */
export function parseSecurityOptions(
  options: readonly string[],
  defaults: Pick<SecurityOptions, "noNewPrivileges" | "seccomp"> = {
    noNewPrivileges: false,
    seccomp: "default",
  },
): SecurityOptions {
  const parsed: SecurityOptions = {
    ...defaults,
    appArmor: undefined,
    unconfinedSystemPaths: false,
    writableCgroups: false,
  };
  for (const option of options) {
    const [, key = option, value = ""] = /^([a-z-]+)[=:](.*)$/s.exec(option) ?? [];
    if (key === "no-new-privileges") parsed.noNewPrivileges = switchOf(key, value);
    else if (key === "writable-cgroups") parsed.writableCgroups = switchOf(key, value);
    else if (key === "seccomp" && value.trimStart().startsWith("{")) parsed.seccomp = parseProfile(value);
    else if (key === "seccomp" && (value === "unconfined" || value === "builtin")) {
      parsed.seccomp = value === "unconfined" ? "unconfined" : "default";
    } else if (key === "systempaths" && value === "unconfined") parsed.unconfinedSystemPaths = true;
    else if (key === "apparmor" && (value === "unconfined" || hasAppArmor())) parsed.appArmor = value;
    else if (key === "label" && value === "disable") continue;
    else if (["seccomp", "apparmor", "label", "systempaths"].includes(key)) {
      throw new EngineError(
        "invalid_argument",
        `HostConfig.SecurityOpt ${key}=… is not supported with this value`,
      );
    } else throw invalidOption(/[=:]/.test(option) ? 2 : 1, option);
  }
  return parsed;
}

function switchOf(key: string, value: string): boolean {
  if (["", "1", "t", "T", "true", "TRUE", "True"].includes(value)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(value)) return false;
  throw invalidOption(2, `${key}=${value}`);
}

/** In Docker's words, which number what may be wrong: an option that is nothing without a value, and one with another. */
function invalidOption(kind: 1 | 2, option: string): EngineError {
  return new EngineError("invalid_argument", `invalid --security-opt ${kind}: ${JSON.stringify(option)}`);
}
