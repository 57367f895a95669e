import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { Options as RuncOptions } from "@longshore/api/containerd/types/runc/options/oci";
import { Options as OtherOptions } from "@longshore/api/containerd/types/runtimeoptions/v1/api";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError } from "@longshore/errors";
import { z } from "zod";
import type { CgroupDriver } from "./cgroup-driver.ts";

/** The runtime that is always there. */
export const STOCK_RUNTIME = "runc";

/** Its shim, by whose name it is known as well. */
export const RUNC_SHIM = "io.containerd.runc.v2";
const RUNC_OPTIONS = "containerd.runc.v1.Options";
const OTHER_OPTIONS = "runtimeoptions.v1.Options";

/** A runtime as the configuration file has it: an OCI runtime under runc's shim, or a shim with options of its own. */
export const runtimeSchema = z.strictObject({
  path: z.string().optional(),
  runtimeArgs: z.array(z.string()).optional(),
  /** Name of a shim, `io.containerd.runc.v2`, or its absolute path. */
  runtimeType: z.string().optional(),
  options: z.record(z.string(), z.unknown()).optional(),
});
export type RuntimeConfig = z.output<typeof runtimeSchema>;

/** What containerd is told of a runtime. */
export interface ShimChoice {
  name: string;
  options: Any | undefined;
}

/** @throws EngineError `invalid_argument` in Docker's words for a runtime that is none */
export function checkRuntime(name: string, { path: file, runtimeArgs, runtimeType, options }: RuntimeConfig) {
  const refuse = (why: string): never => {
    throw new EngineError("invalid_argument", `runtime ${name}: ${why}`);
  };
  if (name === STOCK_RUNTIME) throw new EngineError("invalid_argument", `runtime name '${name}' is reserved`);
  if (name === "" || name.includes("/")) refuse("a name must be given, without slashes");
  if (!file && !runtimeType) refuse("either a runtimeType or a path must be configured");
  if (file && runtimeType) refuse("cannot configure both path and runtimeType for the same runtime");
  if (file && options && Object.keys(options).length > 0)
    refuse("options cannot be used with a path runtime");
  if (runtimeType && runtimeArgs?.length) refuse("runtimeArgs cannot be used with a runtimeType runtime");
  if (
    runtimeType?.startsWith(".") ||
    (runtimeType && !path.isAbsolute(runtimeType) && !isShimName(runtimeType))
  )
    refuse(`${runtimeType} is neither a shim's name like ${RUNC_SHIM} nor an absolute path`);
  if (runtimeType && options) encodeOptions(runtimeType, options, "");
}

/** Whether a client may name this shim itself, without it being configured: any name, but no path. */
export function isShimName(name: string): boolean {
  return /^[^./][^/]*\.[^/.]+$/.test(name);
}

/**
 * How containerd is to run a container.
 *
 * @param runtimes those of the configuration; runc needs no entry
 * @throws EngineError `invalid_argument` for a name that is no runtime's
 */
export function chooseShim(
  name: string,
  {
    runtimes,
    dataRoot,
    execRoot,
    cgroupDriver,
    ioOwner,
  }: {
    runtimes: ReadonlyMap<string, RuntimeConfig>;
    dataRoot: string;
    execRoot: string;
    cgroupDriver: CgroupDriver;
    /** Whose a container's pipes are; left out: the host's root's. */
    ioOwner?: { uid: number; gid: number };
  },
): ShimChoice {
  const shared = {
    ...(ioOwner && { IoUid: ioOwner.uid, IoGid: ioOwner.gid }),
    ...(cgroupDriver === "systemd" && { SystemdCgroup: true }),
  };
  const root = path.join(execRoot, "runc");
  const runc = (binaryName: string): ShimChoice => ({
    name: RUNC_SHIM,
    options: encodeOptions(RUNC_SHIM, { BinaryName: binaryName, ...shared }, root),
  });
  const runtime = runtimes.get(name);
  if (!runtime) {
    if (name === STOCK_RUNTIME) return runc("");
    if (isShimName(name))
      return { name, options: encodeOptions(name, isRuncShim(name) ? shared : undefined, root) };
    throw new EngineError("invalid_argument", `unknown or invalid runtime name: ${name}`);
  }
  const { runtimeType, options } = runtime;
  if (runtimeType) {
    const all = isRuncShim(runtimeType) ? { ...shared, ...options } : options;
    return { name: runtimeType, options: encodeOptions(runtimeType, all, root) };
  }
  return runc(runtime.runtimeArgs?.length ? wrapperPath(name, runtime, dataRoot) : (runtime.path ?? ""));
}

/** Arguments of a runtime's own stand in a script, since a shim knows only a path. A changed one is another file: containers run on with the old. */
export function writeWrappers(runtimes: ReadonlyMap<string, RuntimeConfig>, dataRoot: string): void {
  for (const [name, runtime] of runtimes) {
    if (!runtime.runtimeArgs?.length) continue;
    const file = wrapperPath(name, runtime, dataRoot);
    if (fs.existsSync(file)) continue;
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    const temporary = `${file}.${process.pid}`;
    fs.writeFileSync(temporary, wrapperText(runtime), { mode: 0o700 });
    fs.renameSync(temporary, file);
  }
}

function wrapperPath(name: string, runtime: RuntimeConfig, dataRoot: string): string {
  const digest = crypto.createHash("sha256").update(wrapperText(runtime)).digest("hex").slice(0, 12);
  return path.join(dataRoot, "runtimes", `${name}-${digest}`);
}

function wrapperText({ path: file = "", runtimeArgs = [] }: RuntimeConfig): string {
  const quoted = [file, ...runtimeArgs].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  return `#!/bin/sh\nexec ${quoted.join(" ")} "$@"\n`;
}

/** By Docker's names, which are those of containerd's Go fields. */
const RUNC_FIELDS = {
  NoPivotRoot: ["noPivotRoot", z.boolean()],
  NoNewKeyring: ["noNewKeyring", z.boolean()],
  ShimCgroup: ["shimCgroup", z.string()],
  IoUid: ["ioUid", z.number().int().min(0)],
  IoGid: ["ioGid", z.number().int().min(0)],
  BinaryName: ["binaryName", z.string()],
  Root: ["root", z.string()],
  SystemdCgroup: ["systemdCgroup", z.boolean()],
  CriuImagePath: ["criuImagePath", z.string()],
  CriuWorkPath: ["criuWorkPath", z.string()],
} as const;
const OTHER_FIELDS = {
  TypeUrl: ["typeUrl", z.string()],
  ConfigPath: ["configPath", z.string()],
  ConfigBody: ["configBody", z.string().transform((text) => Buffer.from(text))],
} as const;

/** Under whatever path it lies. */
function isRuncShim(shim: string): boolean {
  return shim === RUNC_SHIM || path.basename(shim) === "containerd-shim-runc-v2";
}

/** runc's shim has options of its own; all other shims share one form. */
function encodeOptions(
  shim: string,
  options: Record<string, unknown> | undefined,
  root: string,
): Any | undefined {
  if (isRuncShim(shim)) {
    const fields = RuncOptions.fromPartial({ root, ...takeFields(shim, RUNC_FIELDS, options ?? {}) });
    return { typeUrl: RUNC_OPTIONS, value: Buffer.from(RuncOptions.encode(fields).finish()) };
  }
  if (!options) return undefined;
  const fields = OtherOptions.fromPartial({ typeUrl: "", ...takeFields(shim, OTHER_FIELDS, options) });
  return { typeUrl: OTHER_OPTIONS, value: Buffer.from(OtherOptions.encode(fields).finish()) };
}

function takeFields(
  shim: string,
  known: Readonly<Record<string, readonly [field: string, schema: z.ZodType]>>,
  options: Record<string, unknown>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => {
      const name = Object.keys(known).find((field) => field.toLowerCase() === key.toLowerCase()) ?? "";
      const [field, schema] = known[name] ?? [];
      if (!field || !schema)
        throw new EngineError("invalid_argument", `runtime option ${key} is not one of ${shim}'s`);
      const parsed = schema.safeParse(value);
      if (parsed.success) return [field, parsed.data];
      throw new EngineError("invalid_argument", `runtime option ${key}: ${parsed.error.issues[0]?.message}`);
    }),
  );
}
