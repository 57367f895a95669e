import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import { type Certificates, readCertificates } from "./certificates.ts";
import { CAPABILITIES, type Capability, type Endpoint, isLoopbackHost } from "./endpoint.ts";

type Table = Readonly<Record<string, unknown>>;

const KNOWN = [
  "capabilities",
  "ca",
  "client",
  "skip_verify",
  "override_path",
  "header",
  "server",
  "host",
  "dial_timeout",
];

/**
 * The endpoints that containerd's `hosts.toml` in a directory lists, the server itself last; undefined without the file.
 *
 * @param origin the domain that it is for, and its server where the file names none
 * @throws EngineError `invalid_argument` for a file that isn't right, naming it and the key
 * @see https://github.com/containerd/containerd/blob/main/docs/hosts.md
 */
export function readHostsFile(
  dir: string,
  origin: { domain: string; server: string },
): Endpoint[] | undefined {
  const file = path.join(dir, "hosts.toml");
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
  return parseHostsFile(text, { ...origin, file });
}

/** @param origin.file where the text is from: for messages and for relative paths of certificates */
export function parseHostsFile(
  text: string,
  { file, domain, server }: { file: string; domain: string; server: string },
): Endpoint[] {
  const fail = (why: string) => new EngineError("invalid_argument", `${file}: ${why}`);
  const root = parseToml(text, fail);
  const hosts = root.host === undefined ? [] : Object.entries(asTable(root.host, "host", fail));
  const named = root.server === undefined ? server : String(root.server);
  const isRoot = (url: string) => hostOf(url, fail) === hostOf(named, fail);
  const endpoints = hosts.map(([url, table]) =>
    endpoint(url, asTable(table, `host.${JSON.stringify(url)}`, fail), {
      file,
      domain,
      mirror: !isRoot(url),
      fail,
    }),
  );
  const { host: _, server: __, ...own } = root;
  if (named === "" || hosts.some(([url]) => isRoot(url))) return endpoints;
  return [
    ...endpoints,
    endpoint(named, own, { file, domain, mirror: hostOf(named, fail) !== hostOf(server, fail), fail }),
  ];
}

interface Context {
  file: string;
  domain: string;
  mirror: boolean;
  fail: (why: string) => EngineError;
}

function endpoint(text: string, table: Table, { file, domain, mirror, fail }: Context): Endpoint {
  const unknown = Object.keys(table).find((key) => !KNOWN.includes(key));
  if (unknown !== undefined) throw fail(`unknown key ${JSON.stringify(unknown)}`);
  const url = urlOf(text, fail);
  const prefix = url.pathname.replace(/\/+$/, "");
  const overridden = table.override_path === true;
  const skipVerify = table.skip_verify === true;
  return {
    api: `${url.origin}${overridden || prefix.endsWith("/v2") ? prefix : `${prefix}/v2`}`,
    insecure: url.protocol === "http:" || skipVerify || isLoopbackHost(url.host),
    mirror,
    capabilities: capabilitiesOf(table.capabilities, fail),
    certificates: certificatesOf(table, path.dirname(file), fail),
    headers: headersOf(table.header, fail),
    ...(mirror && { namespace: domain }),
  };
}

function capabilitiesOf(value: unknown, fail: Context["fail"]): Capability[] {
  if (value === undefined) return [...CAPABILITIES];
  if (!Array.isArray(value)) throw fail("capabilities must be a list");
  return value.map((name: unknown) => {
    const known = CAPABILITIES.find((capability) => capability === name);
    if (!known) throw fail(`unknown capability ${JSON.stringify(name)}`);
    return known;
  });
}

/** `ca` and `client` of the file; without them what lies beside it in Docker's way. */
function certificatesOf(table: Table, dir: string, fail: Context["fail"]): Certificates {
  const read = (file: unknown, key: string) => {
    if (typeof file !== "string") throw fail(`${key} must name files`);
    try {
      return fs.readFileSync(path.resolve(dir, file), "utf8");
    } catch (error) {
      throw fail(`${key}: ${error instanceof Error ? error.message : error}`);
    }
  };
  const { ca, client } = table;
  if (ca === undefined && client === undefined) return readCertificates(dir);
  const authorities = ca === undefined ? [] : (Array.isArray(ca) ? ca : [ca]).map((file) => read(file, "ca"));
  if (client === undefined) return { ca: authorities };
  const pairs: unknown[] = Array.isArray(client) ? client : [client];
  const pair = Array.isArray(pairs[0]) ? (pairs[0] as unknown[]) : [pairs[0], pairs[0]];
  if (pairs.length > 1) throw fail("more than one client certificate is not supported");
  return {
    ca: authorities,
    client: { cert: read(pair[0], "client"), key: read(pair[1] ?? pair[0], "client") },
  };
}

function headersOf(value: unknown, fail: Context["fail"]): Record<string, string> {
  if (value === undefined) return {};
  const entries = Object.entries(asTable(value, "header", fail)).map(([name, text]) => {
    const joined = (Array.isArray(text) ? text : [text]).map(String).join(", ");
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || /[\r\n\0]/.test(joined))
      throw fail(`invalid header ${JSON.stringify(name)}`);
    return [name.toLowerCase(), joined];
  });
  return Object.fromEntries(entries) as Record<string, string>;
}

function parseToml(text: string, fail: Context["fail"]): Table {
  try {
    return Bun.TOML.parse(text) as Table;
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error));
  }
}

function asTable(value: unknown, key: string, fail: Context["fail"]): Table {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw fail(`${key} must be a table`);
  return value as Table;
}

function urlOf(text: string, fail: Context["fail"]): URL {
  const url = URL.parse(text.includes("://") ? text : `https://${text}`);
  if (!url || !/^https?:$/.test(url.protocol) || !url.hostname || url.username || url.search || url.hash) {
    throw fail(`${JSON.stringify(text)} is no http(s) URL of a registry`);
  }
  return url;
}

function hostOf(text: string, fail: Context["fail"]): string {
  return urlOf(text, fail).host;
}
