import { expect } from "bun:test";
import { it, noUsers, type Patch, type Playground, skipped } from "./playground.ts";

/** One rule of the specification, as a container that shows it. */
export interface Case {
  /** What must hold, as a sentence about the field. */
  name: string;
  config?: Patch | ((playground: Playground) => Patch);
  /** What is run inside; left out, the configuration's own args. */
  script?: string;
  /** What it prints on stdout: the whole of it (without space around it), or what must match. */
  prints?: string | RegExp;
  /** On stderr, beside that. */
  warns?: RegExp;
  code?: number;
  /** The container must not come into being, for this reason. */
  refused?: RegExp;
  /** Why it can't be tried here, or undefined. */
  missing?: () => string | undefined;
}

/** Make each case a test. A refusal must leave nothing behind; a container that ran its course neither. */
export function runCases(playground: () => Playground, cases: readonly Case[]): void {
  for (const one of cases) {
    it(one.name, () => {
      const why = one.missing?.();
      if (why !== undefined) return skipped(`${one.name}: ${why}`);
      check(playground(), one);
    });
  }
}

function check(playground: Playground, one: Case): void {
  const config = typeof one.config === "function" ? one.config(playground) : (one.config ?? {});
  if (noUsers && needsUsers(config)) {
    skipped(`${one.name}: ${noUsers}`);
    return;
  }
  const { code, stdout, stderr } =
    one.script === undefined ? playground.run(config) : playground.script(one.script, config);
  if (one.refused !== undefined) {
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(one.refused);
  } else {
    expect({ code, stderr: one.warns ? "" : stderr }).toEqual({ code: one.code ?? 0, stderr: "" });
    if (typeof one.prints === "string") expect(stdout.trim()).toBe(one.prints);
    else if (one.prints !== undefined) expect(stdout).toMatch(one.prints);
  }
  if (one.warns !== undefined) expect(stderr).toMatch(one.warns);
  expect(playground.leftovers()).toEqual([]);
}

/** Whether a container of the configuration takes a user namespace: of its own, or for the owners of a mount. */
function needsUsers(config: Patch): boolean {
  return /"type":"user"|"uidMappings"/.test(JSON.stringify(config));
}
