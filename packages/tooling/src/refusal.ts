/** Something that the user must change before we can go on; the message says what, in one sentence. */
export class Refusal extends Error {
  override readonly name = "Refusal";
}

/** Run a script's main function; a Refusal becomes one line on stderr and exit code 1. */
export async function runScript(main: () => Promise<number | undefined>): Promise<void> {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    console.error(`longshore: ${error.message}`);
    process.exitCode = 1;
  }
}
