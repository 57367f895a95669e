import { EngineError } from "@longshore/errors";
import { type Platform, parsePlatform } from "@longshore/oci";
import { z } from "zod";
import type { ApiCall } from "../http/call.ts";
import { foldKeys } from "../http/fold-keys.ts";

/** The platform that a request asks for. @throws EngineError `invalid_argument` for what is none */
export function platformParam(call: ApiCall): Platform | undefined {
  const text = call.atLeast("1.32") ? (call.query.get("platform") ?? "") : "";
  return text === "" ? undefined : parsePlatform(text);
}

/**
 * The platform that a request asks for as JSON; nobody looks at the parameter in versions of the API older than `since`.
 * @throws EngineError `invalid_argument` in Docker's words
 */
export function jsonPlatform(call: ApiCall, since: string): Platform | undefined {
  const text = call.atLeast(since) ? (call.query.get("platform") ?? "") : "";
  return text === "" ? undefined : decodePlatform(text);
}

/** The same, of parameters that may be there several times. */
export function jsonPlatforms(call: ApiCall, since: string, parameter = "platform"): Platform[] {
  return call.atLeast(since) ? call.query.getAll(parameter).map(decodePlatform) : [];
}

/** Of archives: one platform since 1.48, several since 1.52. */
export function archivePlatforms(call: ApiCall): Platform[] {
  if (call.atLeast("1.48") && !call.atLeast("1.52") && call.query.getAll("platform").length > 1) {
    const message =
      "multiple platform parameters are not supported in this API version; use API version 1.52 or later";
    throw new EngineError("invalid_argument", message);
  }
  return jsonPlatforms(call, "1.48");
}

const text = z.string().nullish();
const platformSchema = z
  .object({
    architecture: text,
    os: text,
    "os.version": text,
    "os.features": z.array(z.string()).nullish(),
    variant: text,
  })
  .nullable();

/** @see OCI image specification, `image-index.md`, "platform" */
export function decodePlatform(json: string): Platform {
  const fail = (why: string) => new EngineError("invalid_argument", why);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw fail(`failed to parse platform: ${jsonFault(json)}`);
  }
  const parsed = platformSchema.safeParse(foldKeys(platformSchema, value));
  if (!parsed.success) {
    throw fail(`failed to parse platform: json: cannot unmarshal ${typeFault(value, parsed.error)}`);
  }
  const { os, architecture, variant, "os.version": version, "os.features": features } = parsed.data ?? {};
  if (!os && !architecture && (variant || version || features?.length)) {
    throw fail("optional platform fields provided, but OS and Architecture are missing");
  }
  if (!os || !architecture) throw fail("both OS and Architecture must be provided");
  return { os, architecture, variant: variant ?? "" };
}

/** What Go says of JSON of another type than a platform or one of its fields has. */
function typeFault(value: unknown, { issues }: z.ZodError): string {
  const [field, index] = issues[0]?.path ?? [];
  if (field === undefined) return `${jsonType(value)} into Go value of type v1.Platform`;
  const given = (value as Record<string, unknown>)[String(field)];
  const isItem = typeof index === "number" && Array.isArray(given);
  const wanted = field === "os.features" && !isItem ? "[]string" : "string";
  return `${jsonType(isItem ? given[index] : given)} into Go struct field Platform.${String(field)} of type ${wanted}`;
}

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return typeof value === "boolean" ? "bool" : typeof value;
}

/** What Go says of a text that isn't even the beginning of JSON, or only that. */
function jsonFault(json: string): string {
  const first = json.trimStart().charAt(0);
  if (first === "" || "{[".includes(first)) return "unexpected end of JSON input";
  return `invalid character '${first}' looking for beginning of value`;
}
