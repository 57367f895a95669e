import { expect, test } from "bun:test";
import fc from "fast-check";
import { nextPage } from "./pages.ts";
import { rateLimitOf } from "./rate-limit.ts";
import { formatReferrers, parseReferrers, referrersTagOf } from "./referrers.ts";
import { parseHits, splitTerm } from "./search.ts";

const api = "https://r.example/v2";

test.each([
  ['</v2/x/tags/list?last=b&n=2>; rel="next"', "https://r.example/v2/x/tags/list?last=b&n=2"],
  ["<https://r.example/v2/x?n=1>;rel=next", "https://r.example/v2/x?n=1"],
  ['</a>; rel="prev", </b>; rel="next"', "https://r.example/b"],
  ['<https://evil.example/v2/x>; rel="next"', undefined],
  ['</a>; rel="prev"', undefined],
  ["", undefined],
  [null, undefined],
])("nextPage(%j) is %p", (link, expected) => {
  expect(nextPage(link, api)?.href).toBe(expected as string);
});

test("nextPage() never leaves the registry", () => {
  fc.assert(
    fc.property(fc.oneof(fc.webUrl(), fc.string()), (target) => {
      const next = nextPage(`<${target}>; rel="next"`, api);
      expect(next?.origin ?? "https://r.example").toBe("https://r.example");
    }),
  );
});

test("referrers go into an index and come out of it", () => {
  const referrer = {
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: `sha256:${"a".repeat(64)}`,
    size: 3,
    artifactType: "x/y",
    annotations: { a: "b" },
  };
  expect(parseReferrers(formatReferrers([referrer]))).toEqual([referrer]);
  expect(referrersTagOf(referrer.digest)).toBe(`sha256-${"a".repeat(64)}`);
  expect(referrersTagOf(`sha512:${"b".repeat(128)}`)).toBe(`sha512-${"b".repeat(64)}`);
});

test.each([
  ["100;w=21600", "76;w=21600", { limit: 100, remaining: 76, windowS: 21600, source: "" }],
  ["100", "3", { limit: 100, remaining: 3, windowS: 0, source: "" }],
  ["many", "3", undefined],
])("rateLimitOf(%j, %j)", (limit, remaining, expected) => {
  expect(rateLimitOf(new Headers({ "ratelimit-limit": limit, "ratelimit-remaining": remaining }))).toEqual(
    expected as NonNullable<typeof expected>,
  );
});

test.each([
  ["busybox", "index.docker.io", "busybox"],
  ["library/busybox", "index.docker.io", "busybox"],
  ["docker.io/me/x", "index.docker.io", "me/x"],
  ["r.example:5000/x/y", "r.example:5000", "x/y"],
  ["https://r.example/x", "r.example", "x"],
  ["localhost/", "localhost", ""],
])("splitTerm(%j) is about %s", (term, domain, rest) => {
  expect(splitTerm(term)).toEqual({ domain, rest });
});

test("parseHits() takes what is a result of any answer, or refuses it", () => {
  expect(parseHits({ results: [{ name: "a", star_count: 2, is_official: true }, 7, {}] })).toEqual([
    { name: "a", description: "", stars: 2, official: true, automated: false },
  ]);
  fc.assert(
    fc.property(fc.jsonValue(), (answer) => {
      try {
        for (const { name, stars } of parseHits(answer))
          expect([typeof name, typeof stars]).toEqual(["string", "number"]);
      } catch (error) {
        expect(error).toMatchObject({ code: "data_loss" });
      }
    }),
  );
});
