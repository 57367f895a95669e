import { EngineError } from "@longshore/errors";
import type { Credentials } from "./credentials.ts";
import { PAGE, readPages } from "./pages.ts";
import { CATALOG_SCOPE } from "./scopes.ts";
import { type RegistryOptions, Session } from "./session.ts";

/**
 * The names of a registry's repositories.
 * @throws EngineError `unimplemented` when it doesn't tell them
 */
export async function catalog(
  domain: string,
  options: { credentials: Credentials; registry: RegistryOptions; signal: AbortSignal },
): Promise<string[]> {
  const session = new Session(domain, options.credentials, options.registry);
  const { signal } = options;
  return session.tryEach("resolve", signal, async (connection) => {
    try {
      return await readPages(session, connection, {
        target: `_catalog?n=${PAGE}`,
        scopes: [CATALOG_SCOPE],
        key: "repositories",
        signal,
      });
    } catch (error) {
      if (
        !(error instanceof EngineError) ||
        !/^(error parsing HTTP 404|.*404|unsupported)/.test(error.message)
      )
        throw error;
      throw new EngineError("unimplemented", `${domain} has no catalog of its repositories`, {
        cause: error,
      });
    }
  });
}
