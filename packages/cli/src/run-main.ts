import { UsageError } from "./usage-error.ts";
import { versionLine } from "./version.ts";

export interface MainOptions {
  /** Printed on stdout for `--help` as the first argument, `-h` or no arguments where that makes no sense. */
  help: string;
  /** Exit code of a wrong command line: 1 unless the original has another (docker: 125). */
  usageExitCode?: number;
}

type Main = (argv: string[], signal: AbortSignal) => Promise<number> | number;

/**
 * Run a binary: answers `--version` and `--help`, makes SIGTERM and SIGINT an abort, prints a thrown error as one
 * line on stderr (with its stack under `--debug`) and sets the exit code. Whoever waits must honour the signal: the process
 * ends when `main` has returned, not before.
 */
export function runMain(binary: string, options: MainOptions, main: Main): void {
  const argv = process.argv.slice(2);
  const [first] = argv;
  if (first === "--version" || first === "-v") {
    console.log(versionLine(binary));
    return;
  }
  if (first === "--help" || first === "-h" || first === "help") {
    console.log(options.help.trimEnd());
    return;
  }

  const abort = new AbortController();
  const stop = (name: NodeJS.Signals) => abort.abort(new Error(`received ${name}`));
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  finish(binary, options, argv, async () => main(argv, abort.signal));
}

function finish(binary: string, options: MainOptions, argv: string[], main: () => Promise<number>): void {
  main().then(
    (code) => process.exit(code),
    (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      // console, not process.stderr: the first touch of a process stream costs 11 ms of start-up.
      console.error(`${binary}: ${message}`);
      if (argv.includes("--debug") && error instanceof Error) console.error(error.stack);
      process.exit(error instanceof UsageError ? (options.usageExitCode ?? 1) : 1);
    },
  );
}
