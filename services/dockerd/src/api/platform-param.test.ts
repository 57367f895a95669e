import { expect, test } from "bun:test";
import type { ApiCall } from "../http/call.ts";
import {
  archivePlatforms,
  decodePlatform,
  jsonPlatform,
  jsonPlatforms,
  platformParam,
} from "./platform-param.ts";

test("decodePlatform() reads an OCI platform, in whatever case its fields are", () => {
  const given = '{"os":"linux","Architecture":"arm","variant":"v7","os.version":"1"}';
  expect(decodePlatform(given)).toEqual({ os: "linux", architecture: "arm", variant: "v7" });
});

test.each([
  ["", "failed to parse platform: unexpected end of JSON input"],
  ['{"os":', "failed to parse platform: unexpected end of JSON input"],
  ["linux/amd64", "failed to parse platform: invalid character 'l' looking for beginning of value"],
  ['"linux"', "failed to parse platform: json: cannot unmarshal string into Go value of type v1.Platform"],
  ["[]", "failed to parse platform: json: cannot unmarshal array into Go value of type v1.Platform"],
  [
    '{"os":1,"architecture":"arm"}',
    "failed to parse platform: json: cannot unmarshal number into Go struct field Platform.os of type string",
  ],
  [
    '{"os":"linux","architecture":"arm","os.features":true}',
    "failed to parse platform: json: cannot unmarshal bool into Go struct field Platform.os.features of type []string",
  ],
  ["{}", "both OS and Architecture must be provided"],
  ["null", "both OS and Architecture must be provided"],
  ['{"os":"linux"}', "both OS and Architecture must be provided"],
  ['{"variant":"v7"}', "optional platform fields provided, but OS and Architecture are missing"],
])("decodePlatform() refuses %j in Docker's words", (given, message) => {
  expect(() => decodePlatform(given)).toThrow(expect.objectContaining({ code: "invalid_argument", message }));
});

/** A request of a version of the API. */
function request(version: number, ...platforms: string[]): ApiCall {
  const query = new URLSearchParams(platforms.map((one): [string, string] => ["platform", one]));
  const atLeast = (than: string) => version >= Number(than.split(".")[1]);
  return { query, atLeast } as ApiCall;
}
const [arm, amd] = ["arm64", "amd64"].map((architecture) => JSON.stringify({ os: "linux", architecture }));

test("platform parameters are looked at from their version on", () => {
  const arm64 = { os: "linux", architecture: "arm64", variant: "" };
  expect(jsonPlatform(request(47, "bad"), "1.48")).toBeUndefined();
  expect(jsonPlatform(request(48, String(arm)), "1.48")).toEqual(arm64);
  expect(jsonPlatform(request(48, ""), "1.48")).toBeUndefined();
  expect(jsonPlatforms(request(49, "bad"), "1.50")).toEqual([]);
  expect(jsonPlatforms(request(50, String(arm), String(arm)), "1.50")).toEqual([arm64, arm64]);
  expect(platformParam(request(31, "toaster"))).toBeUndefined();
  expect(platformParam(request(32, "linux/arm64"))).toEqual(arm64);
});

test("archivePlatforms() takes several platforms since 1.52 only", () => {
  const two = [String(arm), String(amd)];
  expect(archivePlatforms(request(47, ...two))).toEqual([]);
  expect(() => archivePlatforms(request(51, ...two))).toThrow(
    "multiple platform parameters are not supported in this API version; use API version 1.52 or later",
  );
  expect(archivePlatforms(request(52, ...two))).toHaveLength(2);
});
