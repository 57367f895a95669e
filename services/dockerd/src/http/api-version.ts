import { EngineError } from "@longshore/errors";

/** The newest Engine API version served, and the one that a request without a version means. */
export const API_VERSION = "1.55";
/** The oldest one served. */
export const MIN_API_VERSION = "1.24";

/** A request, as far as it tells what its client knows. */
export interface Asked {
  /** Whether the request's version of the API is this one, or newer. */
  readonly atLeast: (version: string) => boolean;
}

const VERSIONED = /^\/v([0-9][0-9.]*)(\/.*)$/;

/** A request path taken apart: `/v1.41/info` is version `1.41` and path `/info`. */
export interface VersionedPath {
  version: string;
  path: string;
}

/**
 * Take the version off a path; without one the newest is meant.
 * @param min the oldest that is served
 * @throws EngineError `invalid_argument`, in Docker's words, for a version that isn't served
 */
export function splitVersion(pathname: string, min = MIN_API_VERSION): VersionedPath {
  const [, version, path] = VERSIONED.exec(pathname) ?? [];
  if (version === undefined || path === undefined) return { version: API_VERSION, path: pathname };
  if (compareVersions(version, min) < 0) {
    throw new EngineError(
      "invalid_argument",
      `client version ${version} is too old. Minimum supported API version is ${min}, please upgrade your client to a newer version`,
    );
  }
  if (compareVersions(version, API_VERSION) > 0) {
    throw new EngineError(
      "invalid_argument",
      `client version ${version} is too new. Maximum supported API version is ${API_VERSION}`,
    );
  }
  return { version, path };
}

/** @throws EngineError `invalid_argument`, in Docker's words, for what can't be the oldest version that a daemon serves */
export function checkMinApiVersion(version: string): void {
  const refuse = (message: string) => new EngineError("invalid_argument", message);
  if (version === "") throw refuse("value is empty");
  if (/^v/i.test(version)) throw refuse('API version must be provided without "v" prefix');
  if (!/^\d+(\.\d+)*$/.test(version) || compareVersions(version, MIN_API_VERSION) < 0)
    throw refuse(`minimum supported API version is ${MIN_API_VERSION}: ${version}`);
  if (compareVersions(version, API_VERSION) > 0)
    throw refuse(`maximum supported API version is ${API_VERSION}: ${version}`);
}

/** Whether a path is of a version whose clients take text alone for an error. */
export function isBeforeJsonErrors(pathname: string): boolean {
  const version = VERSIONED.exec(pathname)?.[1];
  return version !== undefined && compareVersions(version, MIN_API_VERSION) < 0;
}

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`; compares number by number. */
export function compareVersions(a: string, b: string): number {
  const left = a.split(".");
  const right = b.split(".");
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = Number(left[i] ?? 0) - Number(right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
