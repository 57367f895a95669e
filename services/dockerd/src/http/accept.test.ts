import { expect, test } from "bun:test";
import { acceptedType } from "./accept.ts";

test("acceptedType() takes what is named with the highest quality, the first offer of several, no wildcard", () => {
  const offers = ["application/jsonl", "application/x-ndjson", "application/json-seq"];
  const of = (accept: string | undefined) => acceptedType(accept, offers);
  expect(of(undefined)).toBeUndefined();
  expect(of("")).toBeUndefined();
  expect(of("*/*, application/*")).toBeUndefined();
  expect(of("application/json")).toBeUndefined();
  expect(of("application/json-seq")).toBe("application/json-seq");
  expect(of("text/html;level=1, Application/X-NDJSON ; charset=utf-8")).toBe("application/x-ndjson");
  expect(of("application/json-seq, application/jsonl")).toBe("application/jsonl");
  expect(of("application/json-seq;q=0.9, application/jsonl;q=0.5")).toBe("application/json-seq");
  expect(of("application/jsonl;q=0, application/json-seq;q=0.1")).toBe("application/json-seq");
  expect(of("application/jsonl;q=0")).toBeUndefined();
});
