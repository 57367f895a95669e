import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  canonicalString,
  familiarString,
  isImageId,
  parseReference,
  trimReference,
  tryParseReference,
  withDefaultTag,
  withDigest,
  withTag,
} from "./reference.ts";

const hex = "4f2c".repeat(16);
const digest = `sha256:${hex}`;

describe("parseReference()", () => {
  test.each([
    ["busybox", "docker.io/library/busybox", "busybox"],
    ["busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"],
    ["library/busybox", "docker.io/library/busybox", "busybox"],
    ["docker.io/busybox", "docker.io/library/busybox", "busybox"],
    ["index.docker.io/busybox", "docker.io/library/busybox", "busybox"],
    ["index.docker.io/a/b", "docker.io/a/b", "a/b"],
    ["me/app:dev", "docker.io/me/app:dev", "me/app:dev"],
    ["library/a/b", "docker.io/library/a/b", "library/a/b"],
    ["localhost/app", "localhost/app", "localhost/app"],
    ["Host/app", "Host/app", "Host/app"],
    ["127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"],
    ["[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"],
    ["r.example/a__b/c--d.e", "r.example/a__b/c--d.e", "r.example/a__b/c--d.e"],
    [`busybox@${digest}`, `docker.io/library/busybox@${digest}`, `busybox@${digest}`],
    [`busybox:1@${digest}`, `docker.io/library/busybox:1@${digest}`, `busybox:1@${digest}`],
  ])("completes %s", (text, canonical, familiar) => {
    const reference = parseReference(text);
    expect(canonicalString(reference)).toBe(canonical);
    expect(familiarString(reference)).toBe(familiar);
  });

  test.each([
    ["", "invalid reference format"],
    [":", "invalid reference format"],
    ["x:", "invalid reference format"],
    ["x@", "invalid reference format"],
    ["-x", "invalid reference format"],
    ["x y", "invalid reference format"],
    ["x\n", "invalid reference format"],
    ["a..b", "invalid reference format"],
    ["a___b", "invalid reference format"],
    ["a//b", "invalid reference format"],
    ["../x", "invalid reference format"],
    [`x:${"t".repeat(129)}`, "invalid reference format"],
    ["X", "invalid reference format: repository name (library/X) must be lowercase"],
    ["r.example/Foo:T", "invalid reference format: repository name (Foo) must be lowercase"],
    ["x@sha256:00", "invalid reference format"],
    [`x@sha256:${"0".repeat(63)}`, "invalid checksum digest length"],
    [`x@sha256:${hex.toUpperCase()}`, "invalid checksum digest format"],
    [`x@md5:${"0".repeat(32)}`, "unsupported digest algorithm"],
    [hex, `invalid repository name (${hex}), cannot specify 64-byte hexadecimal strings`],
    ["a".repeat(256), "repository name must not be more than 255 characters"],
  ])("refuses %j with Docker's words", (text, message) => {
    expect(() => parseReference(text)).toThrow(message);
    expect(tryParseReference(text)).toBeUndefined();
  });

  test("gives back what canonicalString() and familiarString() wrote", () => {
    const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
    const component = fc
      .tuple(word, fc.constantFrom("", ".", "_", "__", "-", "---"), word)
      .map((p) => p.join(""));
    const parts = fc.record(
      {
        domain: fc.oneof(
          fc.constantFrom("docker.io", "localhost", "127.0.0.1:5000", "[::1]:80"),
          fc.domain(),
        ),
        path: fc.array(component, { minLength: 2, maxLength: 4 }).map((p) => p.join("/")),
        tag: fc.stringMatching(/^\w[\w.-]{0,20}$/),
        digest: fc.stringMatching(/^[a-f0-9]{64}$/).map((d) => `sha256:${d}`),
      },
      { requiredKeys: ["domain", "path"] },
    );
    fc.assert(
      fc.property(parts, (reference) => {
        expect(parseReference(canonicalString(reference))).toEqual(reference);
        // A Hub path such as `a.b/c` loses its domain in the familiar form and reads as host `a.b`; so it is in the original.
        const ambiguous = reference.domain === "docker.io" && /^[^/]*\./.test(reference.path);
        if (!ambiguous) expect(parseReference(familiarString(reference))).toEqual(reference);
      }),
    );
  });

  // The limit is far above what a loaded machine needs (a third of a second alone); an exponential match would never end.
  test("answers any text with a reference or an EngineError, soon", () => {
    fc.assert(fc.property(fc.string({ maxLength: 300 }), (text) => void tryParseReference(text)));
    const started = performance.now();
    tryParseReference(`${"a-".repeat(50_000)}!`);
    tryParseReference(`${"a.".repeat(50_000)}/x`);
    expect(performance.now() - started).toBeLessThan(10_000);
  }, 20_000);
});

test("withDefaultTag() adds latest to a bare name only", () => {
  expect(withDefaultTag(parseReference("x")).tag).toBe("latest");
  expect(withDefaultTag(parseReference("x:1")).tag).toBe("1");
  expect(withDefaultTag(parseReference(`x@${digest}`)).tag).toBeUndefined();
});

test("withTag(), withDigest() and trimReference() check and change one part", () => {
  const reference = parseReference("x:1");
  expect(canonicalString(withTag(reference, "2"))).toBe("docker.io/library/x:2");
  expect(canonicalString(withDigest(trimReference(reference), digest))).toBe(`docker.io/library/x@${digest}`);
  expect(() => withTag(reference, ".")).toThrow("invalid tag format");
  expect(() => withDigest(reference, "sha256:1")).toThrow("invalid checksum digest length");
});

test("isImageId() knows full ids only", () => {
  expect([hex, digest, hex.slice(1), `sha512:${hex}`].map(isImageId)).toEqual([true, true, false, false]);
});
