const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export interface EnvInputs {
  /** `NAME=value`; a bare `NAME` takes the variable away. */
  env: readonly string[];
  hostname: string;
  terminal: boolean;
}

/** Environment of a process: Docker's defaults, overridden by what was given. HOME is the runtime's to set. */
export function processEnv({ env, hostname, terminal }: EnvInputs): string[] {
  const defaults = [`PATH=${DEFAULT_PATH}`, `HOSTNAME=${hostname}`, ...(terminal ? ["TERM=xterm"] : [])];
  return mergeEnv(defaults, env).filter((entry) => entry.includes("="));
}

/** Both lists as one; of the same name the later counts, at the place of the first. */
export function mergeEnv(base: readonly string[], over: readonly string[]): string[] {
  const merged = new Map<string, string>();
  for (const entry of [...base, ...over]) merged.set(nameOf(entry), entry);
  return [...merged.values()];
}

/** A container's own variables, and those of its image that it doesn't name. */
export function withImageEnv(own: readonly string[], image: readonly string[]): string[] {
  const names = new Set(own.map(nameOf));
  return [...own, ...image.filter((entry) => !names.has(nameOf(entry)))];
}

function nameOf(entry: string): string {
  const at = entry.indexOf("=");
  return at < 0 ? entry : entry.slice(0, at);
}
