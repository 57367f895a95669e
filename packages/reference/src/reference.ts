import { EngineError } from "@longshore/errors";
import { checkDigest } from "./digest.ts";
import { IDENTIFIER, NAME, REFERENCE, TAG_ONLY } from "./grammar.ts";

const DEFAULT_DOMAIN = "docker.io";
const LEGACY_DEFAULT_DOMAIN = "index.docker.io";
const OFFICIAL_PREFIX = "library/";
const NAME_LENGTH_MAX = 255;

/** An image name in its canonical parts: `busybox` is domain `docker.io`, path `library/busybox`. */
export interface Reference {
  /** Host and, where given, port: `docker.io`, `127.0.0.1:5000`. */
  readonly domain: string;
  readonly path: string;
  readonly tag?: string;
  /** With its algorithm: `sha256:4f2c…`. */
  readonly digest?: string;
}

/**
 * Parse a name as users write it (`busybox`, `127.0.0.1:5000/base:1@sha256:…`) and complete its domain and path;
 * no tag is added (see {@link withDefaultTag}).
 * @throws EngineError `invalid_argument`, with the words that Docker has for it
 * @see distribution/reference, `normalize.go`
 */
export function parseReference(text: string): Reference {
  if (IDENTIFIER.test(text)) {
    throw invalid(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  const { domain, remainder } = splitDomain(text);
  const colon = remainder.indexOf(":");
  const remote = colon < 0 ? remainder : remainder.slice(0, colon);
  if (remote.toLowerCase() !== remote) {
    throw invalid(`invalid reference format: repository name (${remote}) must be lowercase`);
  }
  return parseCanonical(`${domain}/${remainder}`);
}

/** The same, or undefined where {@link parseReference} throws. */
export function tryParseReference(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  }
}

/** The reference with the tag `latest` when it has neither tag nor digest. */
export function withDefaultTag(reference: Reference): Reference {
  if (reference.tag !== undefined || reference.digest !== undefined) return reference;
  return { ...reference, tag: "latest" };
}

/** @throws EngineError `invalid_argument` when it is no valid tag */
export function withTag(reference: Reference, tag: string): Reference {
  if (!TAG_ONLY.test(tag)) throw invalid("invalid tag format");
  return { ...reference, tag };
}

/** @throws EngineError `invalid_argument` when it is no valid digest */
export function withDigest(reference: Reference, digest: string): Reference {
  return { ...reference, digest: checkDigest(digest) };
}

/** The repository alone. */
export function trimReference({ domain, path }: Reference): Reference {
  return { domain, path };
}

/** `docker.io/library/busybox` */
export function canonicalName({ domain, path }: Reference): string {
  return `${domain}/${path}`;
}

/** `docker.io/library/busybox:latest`; the form that goes over our wires and into containerd. */
export function canonicalString(reference: Reference): string {
  return canonicalName(reference) + suffix(reference);
}

/** `busybox`, as Docker shows repositories to people. */
export function familiarName({ domain, path }: Reference): string {
  if (domain !== DEFAULT_DOMAIN) return `${domain}/${path}`;
  const short = path.startsWith(OFFICIAL_PREFIX) ? path.slice(OFFICIAL_PREFIX.length) : path;
  return short.includes("/") ? path : short;
}

/** `busybox:latest` */
export function familiarString(reference: Reference): string {
  return familiarName(reference) + suffix(reference);
}

/** Whether a text is a full image id: 64 hex digits, with or without `sha256:`. */
export function isImageId(text: string): boolean {
  return IDENTIFIER.test(text.startsWith("sha256:") ? text.slice("sha256:".length) : text);
}

function suffix({ tag, digest }: Reference): string {
  return (tag === undefined ? "" : `:${tag}`) + (digest === undefined ? "" : `@${digest}`);
}

/** What stands before the first slash is a domain if it looks like a host, else part of a Docker Hub path. */
function splitDomain(text: string): { domain: string; remainder: string } {
  const slash = text.indexOf("/");
  if (slash < 0) return { domain: DEFAULT_DOMAIN, remainder: OFFICIAL_PREFIX + text };
  const first = text.slice(0, slash);
  const isHost = first === "localhost" || /[.:]/.test(first) || first.toLowerCase() !== first;
  const domain = isHost && first !== LEGACY_DEFAULT_DOMAIN ? first : DEFAULT_DOMAIN;
  const rest = isHost ? text.slice(slash + 1) : text;
  const official = domain === DEFAULT_DOMAIN && !rest.includes("/");
  return { domain, remainder: official ? OFFICIAL_PREFIX + rest : rest };
}

function parseCanonical(text: string): Reference {
  const [, name, tag, digest] = REFERENCE.exec(text) ?? [];
  if (name === undefined) {
    if (REFERENCE.test(text.toLowerCase())) throw invalid("repository name must be lowercase");
    throw invalid("invalid reference format");
  }
  const [, domain, path] = NAME.exec(name) ?? [];
  // The domain was put there by splitDomain, but the grammar may see it as a path (`_x/y` is neither).
  if (domain === undefined || path === undefined) throw invalid("invalid reference format");
  if (path.length > NAME_LENGTH_MAX) {
    throw invalid(`repository name must not be more than ${NAME_LENGTH_MAX} characters`);
  }
  return {
    domain,
    path,
    ...(tag !== undefined && { tag }),
    ...(digest !== undefined && { digest: checkDigest(digest) }),
  };
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
