import { type Flags, parseFlags } from "./flags.ts";

/** As `run`, for the process that stays, without what it doesn't need. */
export function runServer(act: (flags: Flags) => Promise<number>, argv = process.argv.slice(2)): void {
  finish(start(act, argv));
}

/** End as it does. */
export function finish(served: Promise<number>): void {
  served.then(
    (code) => process.exit(code),
    (error: unknown) => {
      console.error(`containerd-shim-runc-v2: ${error instanceof Error ? error.message : error}`);
      process.exit(1);
    },
  );
}

async function start(act: (flags: Flags) => Promise<number>, argv: readonly string[]): Promise<number> {
  return act(parseFlags(argv));
}
