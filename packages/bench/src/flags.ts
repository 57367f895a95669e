import { parseArgs } from "node:util";

export interface Flags {
  /** Few rounds: shows that everything runs, not how fast. */
  readonly short: boolean;
  /** Where to write all figures as JSON. */
  readonly json: string | undefined;
  /** Only measurements whose name contains this. */
  readonly filter: string;
  /** Our executables; those of the last build when left out. */
  readonly binDir: string | undefined;
  /** Put the table into the repository's README. */
  readonly readme: boolean;
}

export const USAGE = `Usage: npm run bench -- [--short] [--filter TEXT] [--json FILE] [--bin-dir DIR] [--readme]

Measures the engine beside the real docker, containerd and runc of this machine, interleaved, in one run. Needs root.

  --short        few rounds
  --filter TEXT  only measurements whose name contains TEXT
  --json FILE    write all figures to FILE
  --bin-dir DIR  measure the executables in DIR instead of dist/bin
  --readme       put the table between the markers of README.md
`;

/** @throws TypeError for flags that aren't */
export function parseFlags(argv: string[]): Flags | "help" {
  const { values } = parseArgs({
    args: argv,
    options: {
      short: { type: "boolean", default: false },
      json: { type: "string" },
      filter: { type: "string", default: "" },
      "bin-dir": { type: "string" },
      readme: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  const { short, json, filter, readme, "bin-dir": binDir } = values;
  return { short, json, filter, readme, binDir };
}
