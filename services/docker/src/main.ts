import { findCommand } from "./commands/names.ts";

// Only this and the file of the one command are loaded: what a command doesn't need would cost each `docker run`.

/** Global flags that take a value. */
const VALUED = "-H --host -c --context --config --tlscacert --tlscert --tlskey".split(" ");

/** The command's words: what follows the global flags. */
function wordsOf(argv: readonly string[]): readonly string[] {
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? "";
    if (VALUED.includes(word)) index++;
    else if (!word.startsWith("-")) return argv.slice(index);
  }
  return [];
}

const argv = process.argv.slice(2);
// An executable holds these files under their own names (`packages/tooling/src/build.ts`).
const { cli, commands } = require(
  `./entries/${findCommand(wordsOf(argv))?.file ?? "help"}.js`,
) as typeof import("./entries/help.ts");
cli(commands, argv);
