import os from "node:os";
import { EngineError } from "@longshore/errors";
import type { Seccomp, SeccompRule } from "@longshore/oci";
import { z } from "zod";
import { defaultSeccomp } from "./seccomp.ts";

const NATIVE = "SCMP_ARCH_X86_64";
/** How conditions of a rule name this architecture. */
const NATIVE_NAME = "amd64";

const condition = z.object({
  caps: z.array(z.string()).nullish(),
  arches: z.array(z.string()).nullish(),
  minKernel: z
    .string()
    .regex(/^\d+\.\d+$/, "expected MAJOR.MINOR")
    .nullish(),
});
const argument = z.object({
  index: z.number().int().min(0).max(5),
  value: z.number(),
  valueTwo: z.number().nullish(),
  op: z.string(),
});
const rule = z.object({
  name: z.string().nullish(),
  names: z.array(z.string()).nullish(),
  action: z.string(),
  errnoRet: z.number().int().nonnegative().nullish(),
  args: z.array(argument).nullish(),
  includes: condition.nullish(),
  excludes: condition.nullish(),
});
const profileSchema = z.object({
  defaultAction: z.string(),
  defaultErrnoRet: z.number().int().nonnegative().nullish(),
  architectures: z.array(z.string()).nullish(),
  archMap: z
    .array(z.object({ architecture: z.string(), subArchitectures: z.array(z.string()).nullish() }))
    .nullish(),
  flags: z.array(z.string()).nullish(),
  listenerPath: z.string().nullish(),
  listenerMetadata: z.string().nullish(),
  syscalls: z.array(rule).nullish(),
});
/** A profile in Docker's format: the runtime's, with conditions on capabilities, architecture and kernel. */
export type SeccompProfile = z.output<typeof profileSchema>;

/** @throws EngineError `invalid_argument` for what is no profile */
export function parseProfile(text: string): SeccompProfile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw undecodable(error instanceof Error ? error.message : String(error));
  }
  const parsed = profileSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw undecodable(`${issue?.path.join(".") ?? ""}: ${issue?.message ?? "invalid"}`);
  }
  const profile = parsed.data;
  if (profile.architectures?.length && profile.archMap?.length) {
    throw invalid("use either 'architectures' or 'archMap'");
  }
  for (const { name, names } of profile.syscalls ?? []) {
    if (name && names?.length) throw invalid("use either 'name' or 'names'");
  }
  return profile;
}

/** The filter of a container's processes; undefined for none. */
export function seccompOf(
  profile: "default" | "unconfined" | SeccompProfile,
  capabilities: readonly string[],
): Seccomp | undefined {
  if (profile === "unconfined") return undefined;
  return profile === "default" ? defaultSeccomp(capabilities) : filterOf(profile, capabilities);
}

function filterOf(profile: SeccompProfile, capabilities: readonly string[]): Seccomp {
  const mapped = profile.archMap?.find(({ architecture }) => architecture === NATIVE);
  const architectures = profile.architectures?.length
    ? profile.architectures
    : mapped && [mapped.architecture, ...(mapped.subArchitectures ?? [])];
  const syscalls = (profile.syscalls ?? []).filter(
    ({ includes, excludes }) => meets(includes, capabilities) && !isMet(excludes, capabilities),
  );
  return {
    defaultAction: profile.defaultAction,
    ...given("defaultErrnoRet", profile.defaultErrnoRet),
    ...given("architectures", architectures),
    ...given("flags", profile.flags?.length ? profile.flags : undefined),
    ...given("listenerPath", profile.listenerPath || undefined),
    ...given("listenerMetadata", profile.listenerMetadata || undefined),
    syscalls: syscalls.map(toRule),
  };
}

function toRule({ name, names, action, errnoRet, args }: z.output<typeof rule>): SeccompRule {
  return {
    names: names?.length ? names : [name ?? ""],
    action,
    ...given("errnoRet", errnoRet),
    ...given(
      "args",
      args?.length
        ? args.map(({ valueTwo, ...one }) => ({ ...one, ...given("valueTwo", valueTwo) }))
        : undefined,
    ),
  };
}

type Condition = z.output<typeof condition> | null | undefined;

/** All that a rule's `includes` asks for. */
function meets(wanted: Condition, capabilities: readonly string[]): boolean {
  if (!wanted) return true;
  const { caps, arches, minKernel } = wanted;
  return (
    (caps ?? []).every((name) => capabilities.includes(name)) &&
    (!arches?.length || arches.includes(NATIVE_NAME)) &&
    (!minKernel || kernelIsAtLeast(minKernel))
  );
}

/** Any of what a rule's `excludes` names. */
function isMet(named: Condition, capabilities: readonly string[]): boolean {
  if (!named) return false;
  const { caps, arches, minKernel } = named;
  return (
    (caps ?? []).some((name) => capabilities.includes(name)) ||
    (arches ?? []).includes(NATIVE_NAME) ||
    (Boolean(minKernel) && kernelIsAtLeast(minKernel ?? ""))
  );
}

function kernelIsAtLeast(version: string): boolean {
  const [major = 0, minor = 0] = os.release().split(/[.-]/).map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = version.split(".").map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function given<K extends string, V>(name: K, value: V | null | undefined): Partial<Record<K, V>> {
  return value === null || value === undefined ? {} : ({ [name]: value } as Record<K, V>);
}

function undecodable(why: string): EngineError {
  return new EngineError("invalid_argument", `Decoding seccomp profile failed: ${why}`);
}

function invalid(how: string): EngineError {
  const [, first, second] = /either '(\w+)' or '(\w+)'/.exec(how) ?? [];
  return new EngineError(
    "invalid_argument",
    `'${first}' and '${second}' were specified in the seccomp profile, ${how}`,
  );
}
