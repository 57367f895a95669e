import { expect, test } from "bun:test";
import type { ErrorCode } from "@longshore/errors";
import { parseReference } from "@longshore/reference";
import { registryError } from "./registry-error.ts";

const reference = parseReference("127.0.0.1:5000/x:1");
const json = (code: string, message = "") => JSON.stringify({ errors: [{ code, message }] });

test.each<[number, string, string, ErrorCode, string]>([
  [
    404,
    "application/json",
    json("MANIFEST_UNKNOWN", "manifest unknown"),
    "not_found",
    "manifest for 127.0.0.1:5000/x:1 not found: manifest unknown: manifest unknown",
  ],
  [
    404,
    "application/json; charset=utf-8",
    json("NAME_UNKNOWN", "repository name not known to registry"),
    "not_found",
    "repository 127.0.0.1:5000/x not found: name unknown: repository name not known to registry",
  ],
  [
    403,
    "application/json",
    json("DENIED", "requested access to the resource is denied"),
    "not_found",
    "pull access denied for 127.0.0.1:5000/x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
  ],
  [401, "application/json", json("UNAUTHORIZED"), "unauthenticated", "unauthorized: authentication required"],
  [401, "application/json", "garbage", "unauthenticated", "unauthorized: authentication required"],
  [401, "text/html", "", "unauthenticated", "unauthorized: authentication required"],
  [
    429,
    "application/json",
    json("TOOMANYREQUESTS", "slow down"),
    "resource_exhausted",
    "toomanyrequests: slow down",
  ],
  [429, "text/plain", "later", "resource_exhausted", "toomanyrequests: later"],
  [404, "text/html", "<h1>no</h1>", "not_found", "unknown: <h1>no</h1>"],
  [404, "application/json", "{", "unknown", 'error parsing HTTP 404 response body: "{"'],
  [
    404,
    "application/json",
    '{"errors":[]}',
    "unknown",
    'error parsing HTTP 404 response body: "{\\"errors\\":[]}"',
  ],
  [400, "application/json", '{"details":"bad"}', "unknown", "unknown: bad"],
  [503, "text/html", "x", "unavailable", "received unexpected HTTP status: 503 Service Unavailable"],
])("registryError() of %d %s %j", (status, contentType, body, code, message) => {
  const statusText = status === 503 ? "Service Unavailable" : "";
  const error = registryError({ status, statusText, contentType, body }, reference);
  expect({ code: error.code, message: error.message }).toEqual({ code, message });
});

test("registryError() of a denied push is no missing image", () => {
  const answer = { status: 403, statusText: "", contentType: "application/json", body: json("DENIED", "no") };
  const { code, message } = registryError(answer, reference, "push");
  expect({ code, message }).toEqual({ code: "permission_denied", message: "denied: no" });
});
