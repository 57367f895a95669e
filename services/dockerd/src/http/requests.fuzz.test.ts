import { expect } from "bun:test";
import { EngineError } from "@longshore/errors";
import { expectRefused, fuzz } from "@longshore/fuzz";
import fc from "fast-check";
import FindMyWay from "find-my-way";
import { z } from "zod";
import { parseJson } from "./body.ts";
import { repeatedKey } from "./repeated-key.ts";
import { parseTarget } from "./request-target.ts";

const isInvalid = (error: unknown) => error instanceof EngineError && error.code === "invalid_argument";

const piece = fc.constantFrom(
  ...[
    "/",
    "//",
    "/.",
    "/..",
    "auth",
    "create",
    "containers",
    "%2f",
    "%2e",
    "%63",
    "%00",
    "%zz",
    "%",
    "#",
    "?",
    ";",
  ],
  ...["\\", "\t", " ", "http://docker", "v1.41", "@", ":", "&", "=", "\u00e9", "*"],
);
const target = fc.oneof(
  fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join("")),
  fc.array(piece, { maxLength: 6 }).map((pieces) => `/containers/create${pieces.join("")}`),
  fc.string(),
);

/** The path as a plain reader has it: everything before the query. */
const shownPath = (uri: string) => uri.split("?")[0] ?? "";

fuzz(
  "parseTarget() routes what an authorization plugin is shown, or refuses it",
  fc.property(target, (uri) => {
    const parsed = expectRefused(() => parseTarget(uri), isInvalid);
    if (!parsed) return;
    expect(parsed.path).toBe(shownPath(uri));
    // The way that servers of other languages read it, RFC 3986.
    expect(new URL(`http://docker${uri}`).pathname).toBe(parsed.path);
    const routed: string[] = [];
    const router = FindMyWay({ maxParamLength: 1024 });
    for (const route of ["/containers/create", "/auth"]) router.on("POST", route, () => {}, route);
    const found = router.find("POST", parsed.path);
    if (found) routed.push(found.store as string);
    expect(routed).toEqual(["/containers/create", "/auth"].filter((route) => route === parsed.path));
  }),
  { runs: 2000 },
);

const schema = z.object({
  Image: z.string().optional(),
  HostConfig: z.object({ Privileged: z.boolean().optional() }).optional(),
  Labels: z.record(z.string(), z.string()).optional(),
});
const key = fc.constantFrom(
  "Image",
  "image",
  "HostConfig",
  "hostconfig",
  "Privileged",
  "Labels",
  "__proto__",
  "constructor",
);
const { json } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom("1", '"x"', "true", "null", "1e999", "-0", "[]", "{}"),
    fc
      .array(fc.tuple(key, tie("json")), { maxLength: 4 })
      .map((entries) => `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`),
    fc.array(tie("json"), { maxLength: 3 }).map((items) => `[${items.join(",")}]`),
  ),
}));
const deep = fc.nat(100_000).map((depth) => `${'{"HostConfig":'.repeat(depth)}1${"}".repeat(depth)}`);

fuzz(
  "parseJson() takes a body or refuses it, and changes no prototype",
  fc.property(
    fc.oneof({ weight: 20, arbitrary: json }, fc.string(), { weight: 1, arbitrary: deep }),
    (text) => {
      for (const exact of [false, true]) expectRefused(() => parseJson(text, schema, { exact }), isInvalid);
      repeatedKey(text);
      expect(Object.keys(Object.prototype)).toEqual([]);
      expect(({} as Record<string, unknown>).Privileged).toBeUndefined();
    },
  ),
  { runs: 1000 },
);
