import { expect, test } from "bun:test";
import { credentialsOf } from "./registry-service.ts";

const header = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

test("credentialsOf() reads a name and password, or a token", () => {
  const { username, password } = credentialsOf(header({ username: "me", password: "pass" })) ?? {};
  expect([username, password]).toEqual(["me", "pass"]);
  expect(credentialsOf(header({ identitytoken: "t" }))?.identityToken).toBe("t");
});

test.each([undefined, "", "not base64!", "bm8ganNvbg", header(null), header([]), header({ password: "x" })])(
  "credentialsOf() takes %p for nobody's",
  (given) => {
    expect(credentialsOf(given)).toBeUndefined();
  },
);
