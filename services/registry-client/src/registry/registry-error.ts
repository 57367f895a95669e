import { EngineError, type ErrorCode } from "@longshore/errors";
import { canonicalName, familiarName, familiarString, type Reference } from "@longshore/reference";
import { printable } from "./printable.ts";

interface RegistryFault {
  /** Of the distribution specification, e.g. `MANIFEST_UNKNOWN`. */
  code: string;
  message: string;
}

const DEFAULT_MESSAGES: Readonly<Record<string, string>> = {
  UNAUTHORIZED: "authentication required",
  DENIED: "requested access to the resource is denied",
  TOOMANYREQUESTS: "too many requests",
  UNKNOWN: "unknown error",
  MANIFEST_UNKNOWN: "manifest unknown",
  NAME_UNKNOWN: "repository name not known to registry",
  BLOB_UNKNOWN: "blob unknown to registry",
};

const ERROR_CODES: Readonly<Record<string, ErrorCode>> = {
  UNAUTHORIZED: "unauthenticated",
  DENIED: "not_found",
  MANIFEST_UNKNOWN: "not_found",
  NAME_UNKNOWN: "not_found",
  BLOB_UNKNOWN: "not_found",
  TOOMANYREQUESTS: "resource_exhausted",
};

/**
 * A refusal of a registry as Docker words it. A repository that is not there and one that we may not read look the same
 * in some registries, hence `not_found` for a denial.
 *
 * @param body of the answer; at most a few kilobytes of it are looked at
 */
export function registryError(
  answer: { status: number; statusText: string; contentType: string; body: string },
  reference?: Reference,
  action: "pull" | "push" = "pull",
): EngineError {
  if (answer.status < 400 || answer.status >= 500) {
    const status = printable(`${answer.status} ${answer.statusText}`, 200);
    return new EngineError(
      answer.status >= 500 ? "unavailable" : "unknown",
      `received unexpected HTTP status: ${status}`,
    );
  }
  const fault = parseFault(answer);
  if (!fault) {
    const shown = JSON.stringify(printable(answer.body, 200));
    return new EngineError("unknown", `error parsing HTTP ${answer.status} response body: ${shown}`);
  }
  const message = `${fault.code.toLowerCase().replaceAll("_", " ")}: ${fault.message}`;
  return new EngineError(
    codeOf(fault.code, answer.status, action),
    inContext(fault.code, message, { reference, action }),
  );
}

function codeOf(fault: string, status: number, action: "pull" | "push"): ErrorCode {
  if (fault === "DENIED" && action === "push") return "permission_denied";
  return ERROR_CODES[fault] ?? (status === 404 ? "not_found" : "unknown");
}

function inContext(
  code: string,
  message: string,
  { reference, action }: { reference: Reference | undefined; action: "pull" | "push" },
): string {
  // A push is told the registry's own words.
  if (!reference || action === "push") return message;
  switch (code) {
    case "DENIED":
      return `pull access denied for ${familiarName(reference)}, repository does not exist or may require 'docker login': ${message}`;
    case "MANIFEST_UNKNOWN":
      return `manifest for ${familiarString(reference)} not found: ${message}`;
    case "NAME_UNKNOWN":
      return `repository ${familiarName(reference)} not found: ${message}`;
    case "BLOB_UNKNOWN":
      return `${canonicalName(reference)}: ${message}`;
    default:
      return message;
  }
}

function parseFault(answer: {
  status: number;
  contentType: string;
  body: string;
}): RegistryFault | undefined {
  if (!/^application\/(json|vnd\.api\+json)\b/.test(answer.contentType)) return faultOfStatus(answer);
  let body: unknown;
  try {
    body = JSON.parse(answer.body);
  } catch {
    return answer.status === 401 ? { code: "UNAUTHORIZED", message: "authentication required" } : undefined;
  }
  if (typeof body !== "object" || body === null) return undefined;
  if ("details" in body && typeof body.details === "string" && body.details) {
    return faultOfStatus({ status: answer.status, body: body.details });
  }
  const [first] = "errors" in body && Array.isArray(body.errors) ? (body.errors as unknown[]) : [];
  if (typeof first !== "object" || first === null) {
    return answer.status === 401 ? { code: "UNAUTHORIZED", message: "authentication required" } : undefined;
  }
  const code = "code" in first && typeof first.code === "string" ? printable(first.code, 100) : "UNKNOWN";
  const message = "message" in first && typeof first.message === "string" ? printable(first.message) : "";
  return { code, message: message || (DEFAULT_MESSAGES[code] ?? "unknown error") };
}

function faultOfStatus({ status, body }: { status: number; body: string }): RegistryFault {
  const codes: Readonly<Record<number, string>> = {
    401: "UNAUTHORIZED",
    403: "DENIED",
    429: "TOOMANYREQUESTS",
  };
  const code = codes[status] ?? "UNKNOWN";
  return { code, message: printable(body) || (DEFAULT_MESSAGES[code] ?? "unknown error") };
}
