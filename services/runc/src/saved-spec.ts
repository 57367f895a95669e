import { parseSpec, type Spec } from "@longshore/oci";
import { readText } from "@longshore/syscalls";
import type { Container } from "./state.ts";

/** The specification that a container was made from, as it was then. (Not with the state: `start` and `delete` do without it.) */
export function savedSpec(container: Container): Spec {
  return parseSpec(readText(`${container.directory}/config.json`));
}
