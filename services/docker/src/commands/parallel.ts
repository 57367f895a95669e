import { CliError } from "../cli-error.ts";
import { EngineRefusal } from "../engine/client.ts";
import { print } from "../io/output.ts";

/**
 * Do something to several containers at once. The names of those that it worked for are printed in the order given; the errors of
 * the others, one a line, are the error of the whole.
 */
export async function forEachName(
  names: readonly string[],
  act: (name: string) => Promise<unknown>,
  { ignore = () => false }: { ignore?: (error: EngineRefusal) => boolean } = {},
): Promise<number> {
  const results = await Promise.allSettled(names.map(act));
  const errors: string[] = [];
  for (const [i, result] of results.entries()) {
    if (result.status === "fulfilled") {
      print(names[i] ?? "");
      continue;
    }
    const reason: unknown = result.reason;
    if (!(reason instanceof EngineRefusal || reason instanceof CliError)) throw reason;
    if (reason instanceof EngineRefusal && ignore(reason)) continue;
    errors.push(reason.message);
  }
  if (errors.length > 0) throw new CliError(errors.join("\n"));
  return 0;
}
