import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { run, type Stage } from "./peers.ts";

/** What a token server was asked. */
export interface TokenCall {
  method: string;
  /** Of the query or the form. */
  fields: Record<string, string>;
  scopes: string[];
  authorization: string;
}

/** Gives tokens that docker-registry believes, by GET and by OAuth2's POST. */
export interface TokenServer {
  readonly realm: string;
  readonly calls: TokenCall[];
  /** For the registry's configuration. */
  readonly config: string;
  /** How it behaves: `both`, or OAuth2 only. */
  mode: "both" | "oauth";
  /** Seconds that a token is good for. */
  lifeS: number;
}

export const REFRESH_TOKEN = "a-refresh-token";
const SERVICE = "test-registry";
const ISSUER = "test-issuer";

/** @param users who may do all in repositories that begin with their name; everybody may pull below `public/` */
export async function startTokenServer(stage: Stage, users: Record<string, string>): Promise<TokenServer> {
  const { key, cert } = await makeCertificate(stage, "token", "CN=token");
  const calls: TokenCall[] = [];
  const server: TokenServer = { realm: "", calls, config: "", mode: "both", lifeS: 300 };
  const listener = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const url = new URL(request.url);
      const form = request.method === "POST" ? new URLSearchParams(await request.text()) : url.searchParams;
      const scopes = form.getAll("scope").flatMap((scope) => scope.split(" ").filter(Boolean));
      const authorization = request.headers.get("authorization") ?? "";
      calls.push({ method: request.method, fields: Object.fromEntries(form), scopes, authorization });
      if (request.method === "GET" && server.mode === "oauth") return new Response("", { status: 405 });
      const user = userOf(form, authorization, users);
      if (user === undefined) {
        return Response.json(
          { errors: [{ code: "UNAUTHORIZED", message: "wrong password" }] },
          { status: 401 },
        );
      }
      const token = signToken({ key, cert, user, scopes, lifeS: server.lifeS });
      const offline = form.get("offline_token") === "true" || form.get("access_type") === "offline";
      const body = { access_token: token, expires_in: server.lifeS };
      return Response.json(offline ? { ...body, refresh_token: REFRESH_TOKEN } : body);
    },
  });
  stage.defer(() => listener.stop(true));
  const realm = `http://127.0.0.1:${listener.port}/token`;
  const config = `auth:\n  token:\n    realm: ${realm}\n    service: ${SERVICE}\n    issuer: ${ISSUER}\n    rootcertbundle: ${cert}\n`;
  return Object.assign(server, { realm, config });
}

/** Undefined for who gives a wrong proof; the empty name for nobody. */
function userOf(
  form: URLSearchParams,
  authorization: string,
  users: Record<string, string>,
): string | undefined {
  if (form.get("grant_type") === "refresh_token") {
    return form.get("refresh_token") === REFRESH_TOKEN ? Object.keys(users)[0] : undefined;
  }
  const pair =
    form.get("grant_type") === "password"
      ? [form.get("username"), form.get("password")]
      : Buffer.from(authorization.replace(/^Basic /, ""), "base64")
          .toString()
          .split(":");
  const [name = "", password] = pair;
  if (!name) return "";
  return users[name] === password ? name : undefined;
}

function signToken(options: {
  key: string;
  cert: string;
  user: string;
  scopes: string[];
  lifeS: number;
}): string {
  const { key, cert, user, scopes, lifeS } = options;
  const now = Math.floor(Date.now() / 1000);
  const access = scopes.flatMap((scope) => {
    const [type = "", name = "", actions = ""] = scope.split(":");
    const own = user !== "" && (type === "registry" || name.startsWith(`${user}/`));
    const granted = actions
      .split(",")
      .filter((action) => own || (name.startsWith("public/") && action === "pull"));
    return granted.length > 0 ? [{ type, name, actions: granted }] : [];
  });
  const der = fs.readFileSync(cert, "utf8").replace(/-----[^-]+-----|\s/g, "");
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = encode({ typ: "JWT", alg: "RS256", x5c: [der] });
  const claims = encode({
    ...{ iss: ISSUER, sub: user, aud: SERVICE, exp: now + lifeS, nbf: now - 10, iat: now },
    ...{ jti: crypto.randomUUID(), access },
  });
  const signature = crypto.sign("sha256", Buffer.from(`${head}.${claims}`), fs.readFileSync(key, "utf8"));
  return `${head}.${claims}.${signature.toString("base64url")}`;
}

/** A key and a certificate, by themselves or signed by an authority; gives the files. */
export async function makeCertificate(
  stage: Stage,
  name: string,
  subject: string,
  options: { hosts?: string[]; authority?: { key: string; cert: string } } = {},
): Promise<{ key: string; cert: string }> {
  const { hosts = [], authority } = options;
  const file = (suffix: string) => path.join(stage.dir, `${name}${suffix}`);
  const [key, cert, request, extensions] = [file("-key.pem"), file("-cert.pem"), file(".csr"), file(".ext")];
  const names = hosts.map((host) => `DNS:${host}`).join(",");
  const isAuthority = hosts.length === 0 && !authority;
  fs.writeFileSync(
    extensions,
    `basicConstraints=CA:${isAuthority ? "TRUE" : "FALSE"}\n${names && `subjectAltName=${names}\n`}`,
  );
  await run([
    "openssl",
    "req",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-keyout",
    key,
    "-out",
    request,
    "-subj",
    `/${subject}`,
  ]);
  const signer = authority
    ? ["-CA", authority.cert, "-CAkey", authority.key, "-CAcreateserial"]
    : ["-signkey", key];
  await run([
    "openssl",
    "x509",
    "-req",
    "-in",
    request,
    ...signer,
    "-days",
    "2",
    "-extfile",
    extensions,
    "-out",
    cert,
  ]);
  return { key, cert };
}
