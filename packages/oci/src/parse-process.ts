import { array, boolean, type Check, integer, object, string } from "./check.ts";
import { parseJson } from "./parse-json.ts";
import type { Process } from "./spec.ts";

// A file of its own: a further process is started without the rest of the specification.

const strings = array(string);
const uint16 = integer(0, 0xffff);
const natural = integer(0);
const whole = integer();

// Ids are 31-bit where it matters: a bigger number is a negative one to some of those who read it (CVE-2024-40635).
export const id = integer(0, 0x7fffffff);

export const processCheck: Check = object(
  {
    terminal: boolean,
    consoleSize: object({ height: uint16, width: uint16 }),
    user: object({ uid: id, gid: id, umask: integer(0, 0o777), additionalGids: array(id) }),
    args: strings,
    env: strings,
    cwd: string,
    capabilities: object({
      bounding: strings,
      effective: strings,
      inheritable: strings,
      permitted: strings,
      ambient: strings,
    }),
    rlimits: array(object({ type: string, soft: natural, hard: natural }, ["type"])),
    noNewPrivileges: boolean,
    // Checked against the kernel where it is applied: engines send it as soon as they believe it is there.
    apparmorProfile: string,
    selinuxLabel: string,
    oomScoreAdj: integer(-1000, 1000),
    scheduler: object(
      {
        policy: string,
        nice: whole,
        priority: whole,
        flags: strings,
        runtime: natural,
        deadline: natural,
        period: natural,
      },
      ["policy"],
    ),
    ioPriority: object({ class: string, priority: whole }, ["class"]),
    execCPUAffinity: object({ initial: string, final: string }),
  },
  ["cwd"],
);

/** The `process` object alone, as `exec --process` takes it. */
export function parseProcess(text: string): Process {
  const process = parseJson(text, "the process file");
  processCheck(process, "process");
  return process as Process;
}
