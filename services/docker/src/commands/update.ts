import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { Flag } from "../flags.ts";
import { parseCpus, parseMemory } from "../format/units.ts";
import { print, printError } from "../io/output.ts";
import { givenFields, HOST_OPTION_FLAGS } from "./host-options.ts";

/** Flags of `create` that can be changed later. */
const SHARED = [
  "blkio-weight",
  "cpu-rt-period",
  "cpu-rt-runtime",
  "kernel-memory",
  "cpu-period",
  "cpu-quota",
  "cpu-shares",
  "cpuset-cpus",
  "cpuset-mems",
  "memory-reservation",
  "memory-swap",
  "pids-limit",
  "restart",
];

const FLAGS: readonly Flag[] = [
  ...HOST_OPTION_FLAGS.filter(({ name }) => SHARED.includes(name)),
  { name: "cpus", kind: "string", value: "decimal", help: "Number of CPUs", check: (v) => void parseCpus(v) },
  {
    name: "memory",
    short: "m",
    kind: "string",
    value: "bytes",
    help: "Memory limit",
    check: (v) => void parseMemory(v),
  },
];

export const update: Command = {
  name: "docker update",
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  summary: "Update configuration of one or more containers",
  arity: { min: 1 },
  flags: FLAGS,
  async run({ client, flags, args }) {
    if (!FLAGS.some(({ name }) => flags.has(name))) {
      throw new CliError("you must provide one or more flags when using this command");
    }
    const json = {
      ...givenFields(flags),
      ...(flags.has("cpus") && { NanoCpus: parseCpus(flags.string("cpus")) }),
      ...(flags.has("memory") && { Memory: parseMemory(flags.string("memory")) }),
    };
    const errors: string[] = [];
    for (const name of args) {
      try {
        const path = `/containers/${encodeURIComponent(name)}/update`;
        const { Warnings } = await client.json<{ Warnings: string[] | null }>({ method: "POST", path, json });
        print(name);
        for (const warning of Warnings ?? []) printError(warning);
      } catch (error) {
        errors.push(error instanceof Error ? error.message : String(error));
      }
    }
    if (errors.length > 0) throw new CliError(errors.join("\n"));
    return 0;
  },
};
