import type { Spec } from "@longshore/oci";
import { readText } from "@longshore/syscalls";
import type { Container } from "./state.ts";

/**
 * The specification that a container was made from, as it was then: checked when it was written, where only we can write. (Not with
 * the state: `start` and `delete` do without it.)
 */
export function savedSpec(container: Container): Spec {
  return JSON.parse(readText(`${container.directory}/config.json`)) as Spec;
}
