import type { IncomingMessage } from "node:http";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { EngineError } from "@longshore/errors";
import { BODY_LIMIT_BYTES, readBody } from "../http/body.ts";
import { repeatedKey } from "../http/repeated-key.ts";
import { repeatedParameter } from "../http/repeated-parameter.ts";
import { withBody } from "../http/upgrade-body.ts";
import { AuthzPlugin, type AuthzSubject } from "./authz-plugin.ts";
import { DOCKER_PLUGIN_DIRS, findPlugin, type PluginDirs } from "./find-plugin.ts";

/** Credentials are no plugin's business. */
const HIDDEN_HEADERS = ["x-registry-auth", "x-registry-config"];

/** Asks about an answer before it goes out. @throws EngineError when it may not */
export type Review = (status: number, headers: Record<string, string>, body?: Buffer) => Promise<void>;

/** A request that may go on: the body of this one is still to be read. */
export interface Authorized {
  request: IncomingMessage;
  review: Review;
}

/** What an authorizer needs to know of the operation that a request is routed to. */
interface ShownOperation {
  /** Method and route: `"POST /auth"`. */
  readonly name: string;
  /** Parameters of the query that may be repeated. */
  readonly lists: readonly string[];
}

/** The authorization plugins of the configuration, each of which must allow every request and its answer. */
export class Authorizer {
  private plugins: AuthzPlugin[] = [];
  private readonly dirs: PluginDirs;

  /** @param dirs where plugins are looked for */
  constructor(dirs: PluginDirs = DOCKER_PLUGIN_DIRS) {
    this.dirs = dirs;
  }

  /** @throws EngineError `not_found` for a plugin that is not there; nothing changes then */
  configure(names: readonly string[]): void {
    this.plugins = names.map((name) => new AuthzPlugin(findPlugin(name, this.dirs)));
  }

  get active(): boolean {
    return this.plugins.length > 0;
  }

  /**
   * Ask each plugin in turn about the request that will be handled, with the bytes that its handler reads.
   *
   * @param operation the operation that will run; its name alone decides whether the body is shown
   * @param query the parameters that the handler reads
   * @throws EngineError `permission_denied`; `internal` when a plugin fails; `resource_exhausted`
   *   for a body that is too long to be shown; `invalid_argument` for a body with a key twice or a
   *   query with a parameter twice, of which a plugin could read the other value
   */
  async authorize(
    request: IncomingMessage,
    operation: ShownOperation,
    query: URLSearchParams,
  ): Promise<Authorized> {
    const { plugins } = this;
    const parameter = repeatedParameter(query, operation.lists);
    if (parameter !== undefined) throw ambiguous("parameter", parameter);
    const { headers, url = "/", method = "GET" } = request;
    // A body over the limit is refused: it would pass unseen.
    const body = showsBody(operation.name, headers["content-type"])
      ? await readBody(request, BODY_LIMIT_BYTES)
      : undefined;
    const repeated = body && repeatedKey(body.toString());
    if (repeated !== undefined) throw ambiguous("key", repeated);
    const subject: AuthzSubject = {
      ...identity(request),
      RequestMethod: method,
      RequestUri: url,
      ...(body?.length && { RequestBody: body.toString("base64") }),
      RequestHeaders: shownHeaders(headers),
    };
    for (const plugin of plugins) await plugin.ask("AuthZReq", subject);
    return {
      request: body ? withBody(request, body) : request,
      review: async (status, answerHeaders, answer) => {
        const type = Object.entries(answerHeaders).find(
          ([name]) => name.toLowerCase() === "content-type",
        )?.[1];
        const answered: AuthzSubject = {
          ...subject,
          ResponseStatusCode: status,
          ResponseHeaders: shownHeaders(answerHeaders),
          ...(answer?.length &&
            showsBody(operation.name, type) && { ResponseBody: answer.toString("base64") }),
        };
        for (const plugin of plugins) await plugin.ask("AuthZRes", answered);
      },
    };
  }
}

function ambiguous(what: string, name: string): EngineError {
  const shown = JSON.stringify(name.slice(0, 200));
  return new EngineError("invalid_argument", `ambiguous request: ${what} ${shown} is repeated`);
}

/** Only JSON is shown, and no passwords. */
function showsBody(operation: string, contentType: string | undefined): boolean {
  return /^application\/json\b/i.test(contentType ?? "") && operation !== "POST /auth";
}

/** Who asks, when a certificate says so. */
function identity({ socket }: IncomingMessage): Partial<AuthzSubject> {
  const { getPeerCertificate } = socket as Partial<TLSSocket>;
  if (!getPeerCertificate) return {};
  const certificate: Certificate | undefined = getPeerCertificate.call(socket as TLSSocket, true);
  if (!certificate?.raw) return {};
  const name = certificate.subject?.CN;
  return {
    User: (Array.isArray(name) ? name[0] : name) ?? "",
    UserAuthNMethod: "TLS",
    RequestPeerCertificates: chain(certificate).map((raw) => Buffer.from(toPem(raw)).toString("base64")),
  };
}

/** Without a certificate it has no `raw`. */
type Certificate = PeerCertificate & { issuerCertificate?: Certificate };

function chain(certificate: Certificate): Buffer[] {
  const found: Buffer[] = [];
  for (let next: Certificate | undefined = certificate; next?.raw; next = next.issuerCertificate) {
    const { raw } = next;
    if (found.some((known) => known.equals(raw))) break; // a root is its own issuer
    found.push(raw);
  }
  return found;
}

function toPem(raw: Buffer): string {
  const lines = raw.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

/** By the names that Go gives them, `Content-Type`. */
function shownHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name, value]) => value !== undefined && !HIDDEN_HEADERS.includes(name.toLowerCase()))
      .map(([name, value]) => [
        name.toLowerCase().replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()),
        (Array.isArray(value) ? value.at(-1) : value) ?? "",
      ]),
  );
}
