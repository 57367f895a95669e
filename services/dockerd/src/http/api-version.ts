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
 * @throws EngineError `invalid_argument`, in Docker's words, for a version that isn't served
 */
export function splitVersion(pathname: string): VersionedPath {
  const [, version, path] = VERSIONED.exec(pathname) ?? [];
  if (version === undefined || path === undefined) return { version: API_VERSION, path: pathname };
  if (compareVersions(version, MIN_API_VERSION) < 0) {
    throw new EngineError(
      "invalid_argument",
      `client version ${version} is too old. Minimum supported API version is ${MIN_API_VERSION}, please upgrade your client to a newer version`,
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
