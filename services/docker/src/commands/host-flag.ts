import type { Flag } from "../flags.ts";

/** A flag that sets one field of a container's HostConfig. */
export interface HostFlag extends Flag {
  readonly field: string;
  readonly convert: (values: readonly string[]) => unknown;
}
