import { EngineError } from "@longshore/errors";
import { z } from "zod";
import type { PluginAddress } from "./find-plugin.ts";

const ACCEPT = "application/vnd.docker.plugins.v1.2+json";
const CALL_TIMEOUT_MS = 30_000;
/** For how long a plugin that isn't there is asked again: it may be restarting. */
const AWAY_MS = 3000;
const RETRY_MS = 100;

/** What a plugin is asked about: a request, and then with its answer. Field names are the plugin API's. */
export interface AuthzSubject {
  User?: string;
  UserAuthNMethod?: string;
  RequestMethod: string;
  RequestUri: string;
  /** base64 */
  RequestBody?: string;
  RequestHeaders: Record<string, string>;
  /** PEM texts, base64 */
  RequestPeerCertificates?: string[];
  ResponseStatusCode?: number;
  ResponseHeaders?: Record<string, string>;
  /** base64 */
  ResponseBody?: string;
}

const verdictSchema = z.object({
  Allow: z.boolean().nullish(),
  Msg: z.string().nullish(),
  Err: z.string().nullish(),
});
const activationSchema = z.object({ Implements: z.array(z.string()).nullish() });

/**
 * One authorization plugin.
 * @see https://docs.docker.com/engine/extend/plugins_authorization/
 */
export class AuthzPlugin {
  private readonly address: PluginAddress;
  private activated = false;

  constructor(address: PluginAddress) {
    this.address = address;
  }

  get name(): string {
    return this.address.name;
  }

  /**
   * Ask whether a request may go on, or an answer be given.
   * @throws EngineError `permission_denied` in Docker's words when it may not; `internal` when the plugin does not answer as one should
   */
  async ask(about: "AuthZReq" | "AuthZRes", subject: AuthzSubject): Promise<void> {
    const { name } = this;
    let verdict: z.output<typeof verdictSchema>;
    try {
      if (!this.activated) await this.activate();
      verdict = verdictSchema.parse(await this.call(`AuthZPlugin.${about}`, subject));
      if (verdict.Err) throw new Error(verdict.Err);
    } catch (error) {
      const why =
        error instanceof z.ZodError
          ? "it answered no verdict"
          : error instanceof Error
            ? error.message
            : error;
      throw new EngineError("internal", `plugin ${name} failed with error: ${why}`, { cause: error });
    }
    if (!verdict.Allow)
      throw new EngineError(
        "permission_denied",
        `authorization denied by plugin ${name}: ${verdict.Msg ?? ""}`,
      );
  }

  private async activate(): Promise<void> {
    const { Implements } = activationSchema.parse(await this.call("Plugin.Activate", undefined));
    if (!Implements?.includes("authz")) throw new Error("Plugin does not implement the requested driver");
    this.activated = true;
  }

  private async call(method: string, body: object | undefined): Promise<unknown> {
    const { url, unix, tls } = this.address;
    const deadline = performance.now() + AWAY_MS;
    for (;;) {
      try {
        const response = await fetch(`${url}/${method}`, {
          method: "POST",
          headers: { Accept: ACCEPT, ...(body && { "Content-Type": ACCEPT }) },
          ...(body && { body: JSON.stringify(body) }),
          ...(unix !== undefined && { unix }),
          ...(tls && { tls }),
          redirect: "error",
          keepalive: false,
          signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
        });
        const text = await response.text();
        if (response.ok) return text === "" ? {} : JSON.parse(text);
        throw new EngineError("internal", `${method}: ${response.status}: ${text.trim().slice(0, 500)}`);
      } catch (error) {
        if (!isAway(error) || performance.now() > deadline) throw error;
        this.activated &&= method === "Plugin.Activate";
      }
      await Bun.sleep(RETRY_MS);
    }
  }
}

/** Nobody listens where the plugin should. */
function isAway(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return ["ECONNREFUSED", "ENOENT", "ConnectionRefused", "FailedToOpenSocket"].includes(code);
}
