// Only this and the file of the one command are loaded: what a command doesn't need would cost each start of a container.

/** Global flags that take a value in the next word. */
const VALUED = new Set(["root", "log", "log-format", "rootless", "criu"]);

/** The file in `entries/` that holds a command. */
const FILES: Record<string, string> = {
  checkpoint: "checkpoint",
  create: "create",
  delete: "delete",
  events: "events",
  exec: "exec",
  features: "spec",
  kill: "kill",
  list: "list",
  pause: "pause",
  ps: "list",
  restore: "checkpoint",
  resume: "pause",
  run: "run",
  spec: "spec",
  start: "start",
  state: "state",
  update: "update",
};

/** The first word that is no flag and no flag's value; `help` and `version` also as flags. */
function commandOf(argv: readonly string[]): string {
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? "";
    if (word === "-h" || word === "--help" || word === "-help") return "help";
    if (word === "-v" || word === "--version" || word === "-version") return "version";
    if (!word.startsWith("-")) return word === "h" ? "help" : word;
    if (VALUED.has(word.slice(word.startsWith("--") ? 2 : 1))) index++;
  }
  return "help";
}

// Next to nothing runs often enough for machine code to pay: made for create, it took two milliseconds, and five without a second thread.
Bun.unsafe.setJITPolicy(100);

const name = commandOf(process.argv.slice(2));
// An executable holds these files under their own names (`packages/tooling/src/build.ts`).
const { runtime, commands } = require(
  `./entries/${FILES[name] ?? "help"}.js`,
) as typeof import("./entries/help.ts");
runtime(name, commands);
