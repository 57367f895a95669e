import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { text } from "node:stream/consumers";
import { RUNC_SHIM, type RuntimeConfig, STOCK_RUNTIME } from "../config/runtimes.ts";
import type { Settings } from "../config/settings.ts";
import type { Engine } from "../engine.ts";
import { findInit } from "../spec/init-process.ts";

/** What a program says of itself. */
export interface ProgramVersion {
  version: string;
  /** What it was made of; empty when it doesn't say. */
  commit: string;
}

/** A program that doesn't answer is not waited for. */
const ANSWER_MS = 10_000;
/** Where shims look as well. */
const SYSTEM_PATH = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
const FEATURES_KEY = "org.opencontainers.runtime-spec.features";

/** Of the runtime that containers have that name none. @returns undefined for one that doesn't say, such as a shim of its own */
export async function defaultRuntimeVersion({ flags, log }: Engine): Promise<ProgramVersion | undefined> {
  const program = runtimeProgram(flags.defaultRuntime, flags);
  if (program === undefined) return undefined;
  try {
    return parseRuntimeVersion(await ask(program, "--version"));
  } catch (error) {
    log.warn({ program, err: error }, "asking the default runtime for its version");
    return undefined;
  }
}

/** Of the init program. @returns undefined when there is none, or one that doesn't say */
export async function initVersion({ flags, log }: Engine): Promise<ProgramVersion | undefined> {
  let program: string;
  try {
    program = findInit(flags);
    return parseInitVersion(await ask(program, "--version"));
  } catch (error) {
    log.debug({ err: error }, "asking the init program for its version");
    return undefined;
  }
}

/** `runc version 1.1.5`, `commit: v1.1.5-0-gf19387a6`, and more lines. */
export function parseRuntimeVersion(output: string): ProgramVersion | undefined {
  const version = /version (.+)$/m.exec(output)?.[1]?.trim();
  const commit = /^commit:(.*)$/m.exec(output)?.[1]?.trim();
  return version === undefined && commit === undefined
    ? undefined
    : { version: version ?? "", commit: commit ?? "" };
}

/** `tini version 0.19.0 - git.de40ad0`, or without the commit. */
export function parseInitVersion(output: string): ProgramVersion | undefined {
  const [, version = "", commit = ""] = /^tini version (\S+)(?: - git\.(\S+))?\s*$/.exec(output) ?? [];
  return version === "" ? undefined : { version, commit };
}

/** What is told of a runtime beside its settings. @returns undefined for one that doesn't say */
export async function runtimeStatus({ flags, log }: Engine, name: string): Promise<Record<string, string>> {
  const program = runtimeProgram(name, flags);
  if (program === undefined) return {};
  try {
    return { [FEATURES_KEY]: JSON.stringify(JSON.parse(await ask(program, "features"))) };
  } catch (error) {
    log.debug({ program, err: error }, "asking a runtime for its features");
    return {};
  }
}

/** The OCI runtime that runc's shim starts; undefined for a shim of another kind, or one that isn't there. */
function runtimeProgram(name: string, { runtimes }: Pick<Settings, "runtimes">): string | undefined {
  const isStock = name === STOCK_RUNTIME || name === RUNC_SHIM;
  const runtime: RuntimeConfig | undefined = runtimes.get(name) ?? (isStock ? { path: "runc" } : undefined);
  const binary = runtime?.path;
  if (binary === undefined) return undefined;
  if (binary.includes("/")) return binary;
  const beside = runtimes.has(name) ? [] : [path.dirname(process.execPath)];
  const places = [...beside, ...(process.env.PATH ?? "").split(":"), ...SYSTEM_PATH];
  return places.map((directory) => path.join(directory, binary)).find((file) => fs.existsSync(file));
}

/** What programs have answered, by their file and the time of its last change. */
const answers = new Map<string, string>();

async function ask(program: string, argument: string): Promise<string> {
  const key = `${program} ${fs.statSync(program).mtimeMs} ${argument}`;
  const answer = answers.get(key) ?? (await run(program, argument));
  answers.set(key, answer);
  return answer;
}

async function run(program: string, argument: string): Promise<string> {
  const child = spawn(program, [argument], {
    stdio: ["ignore", "pipe", "ignore"],
    timeout: ANSWER_MS,
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const [output, status] = await Promise.all([text(child.stdout), ended]);
  if (status !== 0) throw new Error(`${program} ${argument} ended with status ${status}`);
  return output;
}
