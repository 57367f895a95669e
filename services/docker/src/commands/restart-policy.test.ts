import { expect, test } from "bun:test";
import { parseRestartPolicy } from "./restart-policy.ts";

test("parseRestartPolicy() reads a name and a retry count", () => {
  expect(parseRestartPolicy("always")).toEqual({ Name: "always", MaximumRetryCount: 0 });
  expect(parseRestartPolicy("on-failure:3")).toEqual({ Name: "on-failure", MaximumRetryCount: 3 });
  expect(() => parseRestartPolicy(":3")).toThrow("no policy provided before colon");
  expect(() => parseRestartPolicy("on-failure:x")).toThrow("maximum retry count must be an integer");
});
