import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { expectRefused, mutated } from "./index.ts";

const own = (error: unknown) => error instanceof RangeError;

test("expectRefused() returns what the parser returns, undefined for its own error, and throws any other", () => {
  const refuse = (error: Error) => () => {
    throw error;
  };
  expect(expectRefused(() => 7, own)).toBe(7);
  expect(expectRefused(refuse(new RangeError("too large")), own)).toBeUndefined();
  expect(() => expectRefused(refuse(new TypeError("a bug")), own)).toThrow("a bug");
});

test("mutated() gives the input itself, changed, shorter and longer ones", () => {
  const valid = Buffer.from("a valid input");
  const inputs = fc.sample(mutated(valid), { numRuns: 500, seed: 1 });
  expect(inputs.some((bytes) => bytes.length < valid.length)).toBe(true);
  expect(inputs.some((bytes) => bytes.length > valid.length)).toBe(true);
  expect(inputs.some((bytes) => bytes.length === valid.length && !bytes.equals(valid))).toBe(true);
  expect(valid.toString()).toBe("a valid input");
});

test.each([
  ["a wrong result", "fc.property(fc.nat(), (n) => n < 1_000)", 1],
  ["no fault", "fc.property(fc.nat(), (n) => n >= 0)", 0],
] as const)("fuzz() runs a target for its time with a random seed: %s", async (_, property, status) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-"));
  const file = path.join(dir, "made.test.ts");
  const modules = ["fast-check", "./index.ts"].map((name) =>
    JSON.stringify(Bun.resolveSync(name, import.meta.dir)),
  );
  fs.writeFileSync(
    file,
    `import fc from ${modules[0]};\nimport { fuzz } from ${modules[1]};\nfuzz("a target", ${property}, { runs: 1 });\n`,
  );
  try {
    const child = Bun.spawn([process.execPath, "test", file], {
      env: { ...process.env, LONGSHORE_FUZZ_SECONDS: "1", LONGSHORE_FUZZ_SEED: "42" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const text = await new Response(child.stderr).text();
    expect(await child.exited).toBe(status);
    if (status === 1) expect(text).toContain("seed: 42");
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
