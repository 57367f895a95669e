import { EngineError } from "@longshore/errors";
import { basicAuthorization, type Credentials } from "./credentials.ts";
import { type HttpLimits, type HttpRequest, type HttpResponse, send, type Via } from "./http.ts";
import { printable } from "./printable.ts";

export interface TokenRequest {
  realm: URL;
  service: string;
  scopes: readonly string[];
  credentials: Credentials;
  /** Ask for a refresh token as well: what `login` keeps instead of the password. */
  offline?: boolean;
}

export interface TokenAnswer {
  token: string;
  /** Seconds that it is good for. */
  lifeS: number;
  /** Empty unless one was asked for and given. */
  refreshToken: string;
}

const CLIENT_ID = "longshore";
const TOKEN_BODY_LIMIT = 1 << 20;
/** As Docker has it. */
const ANSWER_MS = 15_000;
/** The life of a token that does not tell it, by the token specification. */
const TOKEN_LIFE_S = 60;

/**
 * Get an access token: by OAuth2 with a refresh token; by GET with a password or as nobody; by OAuth2 with the password where
 * the token server knows no GET.
 *
 * @throws EngineError `unauthenticated`, `permission_denied` when it refuses; `unavailable` when it can't
 * @see https://distribution.github.io/distribution/spec/auth/token/, https://distribution.github.io/distribution/spec/auth/oauth/
 */
export async function fetchToken(
  request: TokenRequest,
  options: { via: Via; limits: HttpLimits; signal: AbortSignal },
): Promise<TokenAnswer> {
  const { via, signal } = options;
  const limits = { ...options.limits, documentMs: Math.min(options.limits.documentMs, ANSWER_MS) };
  const { realm, credentials } = request;
  const where = `token server ${JSON.stringify(realm.origin + realm.pathname)}`;
  if (credentials.identityToken) {
    return answerOf(await send({ ...postForm(request), via, signal }, limits), where);
  }
  const response = await send({ ...getQuery(request), via, signal }, limits);
  const oauthOnly = response.status === 404 || response.status === 405;
  if (!oauthOnly || !credentials.username) return answerOf(response, where);
  await response.discard();
  return answerOf(await send({ ...postForm(request), via, signal }, limits), where);
}

type Form = Pick<HttpRequest, "method" | "url" | "headers" | "body">;

function getQuery({ realm, service, scopes, credentials, offline }: TokenRequest): Form {
  const url = new URL(realm);
  if (service) url.searchParams.append("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  if (offline) url.searchParams.append("offline_token", "true");
  if (credentials.username && offline) url.searchParams.append("account", credentials.username);
  if (offline) url.searchParams.append("client_id", CLIENT_ID);
  return {
    method: "GET",
    url,
    headers: credentials.username ? { authorization: basicAuthorization(credentials) } : {},
  };
}

function postForm({ realm, service, scopes, credentials, offline }: TokenRequest): Form {
  const { identityToken, username, password } = credentials;
  const fields: Record<string, string> = identityToken
    ? { grant_type: "refresh_token", refresh_token: identityToken }
    : { grant_type: "password", username, password };
  const form = new URLSearchParams({ ...fields, service, client_id: CLIENT_ID, scope: scopes.join(" ") });
  if (offline) form.append("access_type", "offline");
  return {
    method: "POST",
    url: realm,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: form.toString(),
  };
}

async function answerOf(response: HttpResponse, where: string): Promise<TokenAnswer> {
  const body = (await response.bytes(TOKEN_BODY_LIMIT)).toString();
  if (response.status === 401 || response.status === 403 || isInvalidGrant(response.status, body)) {
    const code = response.status === 403 ? "permission_denied" : "unauthenticated";
    throw new EngineError(code, `${where} refused: unauthorized: ${messageOf(body)}`);
  }
  if (response.status !== 200) {
    const code = response.status >= 500 || response.status === 429 ? "unavailable" : "unknown";
    throw new EngineError(code, `${where} answered ${response.status}: ${messageOf(body)}`);
  }
  return parseTokenAnswer(body, where);
}

/** OAuth2's 400 for a refresh token or a password that is not good. */
function isInvalidGrant(status: number, body: string): boolean {
  return status === 400 && jsonObject(body)?.error === "invalid_grant";
}

/** @throws EngineError `unauthenticated` when there is no usable token in it */
export function parseTokenAnswer(body: string, where: string): TokenAnswer {
  const fields = jsonObject(body);
  const token = fields?.token || fields?.access_token;
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
    throw new EngineError("unauthenticated", `${where} gave no token`);
  }
  const life = fields?.expires_in;
  const refresh = fields?.refresh_token;
  return {
    token,
    lifeS: typeof life === "number" && life > TOKEN_LIFE_S ? life : TOKEN_LIFE_S,
    refreshToken: typeof refresh === "string" ? refresh : "",
  };
}

function messageOf(body: string): string {
  const fields = jsonObject(body);
  const [first] = Array.isArray(fields?.errors) ? (fields.errors as unknown[]) : [];
  const message =
    typeof first === "object" && first !== null && "message" in first
      ? first.message
      : (fields?.details ?? fields?.error_description ?? fields?.error ?? body);
  return printable(String(message), 300) || "authentication required";
}

function jsonObject(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // not JSON: the caller says what is missing
  }
}
