import { describe, expect, test } from "bun:test";
import {
  choosePlatform,
  compatiblePlatforms,
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  runsOn,
} from "./platform.ts";

const names = (text: string) => compatiblePlatforms(parsePlatform(text)).map(formatPlatform);

const entry = (digest: string, platform?: string) => ({
  digest,
  ...(platform !== undefined && { platform: parsePlatform(platform) }),
});

describe("compatiblePlatforms()", () => {
  test.each([
    ["linux/amd64", ["linux/amd64", "linux/386"]],
    ["linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]],
    ["linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]],
    ["linux/arm/v5", ["linux/arm/v5"]],
    ["linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]],
    ["linux/riscv64", ["linux/riscv64"]],
    ["linux/amd64/v1000000000", ["linux/amd64/v1000000000"]],
    ["linux/arm/v99999999999", ["linux/arm/v99999999999"]],
    ["linux/arm/soft", ["linux/arm/soft"]],
  ])("%s runs its own, then older and smaller ones", (platform, expected) => {
    expect(names(platform)).toEqual(expected);
  });
});

test.each([
  ["linux/x86_64", "linux/amd64"],
  ["Linux/AARCH64", "linux/arm64"],
  ["linux/arm64/v8", "linux/arm64"],
  ["linux/amd64/v1", "linux/amd64"],
  ["linux/arm", "linux/arm/v7"],
  ["linux/armel", "linux/arm/v6"],
  ["linux/arm/6", "linux/arm/v6"],
])("normalizePlatform() makes %s %s", (given, expected) => {
  expect(formatPlatform(parsePlatform(given))).toBe(expected);
  expect(normalizePlatform(parsePlatform(given))).toEqual(parsePlatform(expected));
});

test.each([
  ["", '"" is an invalid component of "": platform specifier component must match "^[A-Za-z0-9_-]+$"'],
  ["linux/", '"" is an invalid component of "linux/"'],
  ["linux/am d64", '"am d64" is an invalid component'],
  ["a/b/c/d", '"a/b/c/d": cannot parse platform specifier'],
  ["linux/*", '"linux/*": wildcards not yet supported'],
  ["toaster", '"toaster": unknown operating system or architecture: invalid argument'],
])("parsePlatform() refuses %j", (text, words) => {
  expect(() => parsePlatform(text)).toThrow(words);
});

test("parsePlatform() completes a system or an architecture alone", () => {
  expect(formatPlatform(parsePlatform("arm64"))).toBe("linux/arm64");
  expect(parsePlatform("linux")).toEqual(hostPlatform());
});

test.each([
  ["linux/amd64", "linux/amd64", true],
  ["linux/386", "linux/amd64", true],
  ["linux/amd64/v3", "linux/amd64", false],
  ["linux/arm64/v8", "linux/arm64", true],
  ["linux/arm64", "linux/amd64", false],
  ["linux/arm/v6", "linux/arm/v7", true],
  ["linux/arm/v7", "linux/arm/v6", false],
  ["windows/amd64", "linux/amd64", false],
])("runsOn(): an image for %s on %s: %p", (image, host, expected) => {
  expect(runsOn(parsePlatform(image), parsePlatform(host))).toBe(expected);
});

test("runsOn() takes an image that names no variant for any", () => {
  const image = { os: "linux", architecture: "arm", variant: "" };
  expect(runsOn(image, parsePlatform("linux/arm/v6"))).toBe(true);
});

describe("choosePlatform()", () => {
  test("takes the best variant, wherever it stands", () => {
    const entries = [entry("v6", "linux/arm/v6"), entry("v7", "linux/arm/v7"), entry("v8", "linux/arm/v8")];
    expect(choosePlatform(entries, parsePlatform("linux/arm/v7")).digest).toBe("v7");
    expect(choosePlatform(entries, parsePlatform("linux/arm64")).digest).toBe("v8");
  });

  test("takes 32-bit x86 on amd64 when there is nothing else, and passes attestations over", () => {
    const entries = [entry("attestation", "unknown/unknown"), entry("i386", "linux/386")];
    expect(choosePlatform(entries, parsePlatform("linux/amd64")).digest).toBe("i386");
  });

  test("takes the only entry that names no platform", () => {
    expect(choosePlatform([entry("one")], parsePlatform("linux/amd64")).digest).toBe("one");
    expect(() => choosePlatform([entry("one"), entry("two")], parsePlatform("linux/amd64"))).toThrow();
  });

  test("says in Docker's words that nothing fits", () => {
    expect(() => choosePlatform([entry("arm", "linux/arm64")], parsePlatform("linux/amd64"))).toThrow(
      expect.objectContaining({
        code: "not_found",
        message: "no matching manifest for linux/amd64 in the manifest list entries",
      }),
    );
  });
});
