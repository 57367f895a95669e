import { CliError } from "../cli-error.ts";
import { EngineRefusal } from "../engine/client.ts";
import { print, printError } from "../io/output.ts";

/**
 * Do something to several containers at once. The names of those that it worked for are printed in the order given; the errors of
 * the others, one a line, are the error of the whole; forgiven ones are only shown.
 */
export async function forEachName(
  names: readonly string[],
  act: (name: string) => Promise<unknown>,
  { forgive = () => false }: { forgive?: (error: EngineRefusal) => boolean } = {},
): Promise<number> {
  const results = await Promise.allSettled(names.map(act));
  const errors: string[] = [];
  let failed = false;
  for (const [i, result] of results.entries()) {
    if (result.status === "fulfilled") {
      print(names[i] ?? "");
      continue;
    }
    const reason: unknown = result.reason;
    if (!(reason instanceof EngineRefusal || reason instanceof CliError)) throw reason;
    errors.push(reason.message);
    if (!(reason instanceof EngineRefusal && forgive(reason))) failed = true;
  }
  if (failed) throw new CliError(errors.join("\n"));
  for (const error of errors) printError(error);
  return 0;
}
