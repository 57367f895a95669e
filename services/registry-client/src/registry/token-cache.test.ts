import { expect, test } from "bun:test";
import fc from "fast-check";
import { ANONYMOUS } from "./credentials.ts";
import { joinScopes } from "./scopes.ts";
import { TokenCache } from "./token-cache.ts";
import { parseTokenAnswer } from "./token-server.ts";

const key = { realm: "https://t", service: "s", scopes: ["repository:a:pull"], credentials: ANONYMOUS };

test("TokenCache asks once for what many want, and again when it runs out", async () => {
  const tokens = new TokenCache();
  let asked = 0;
  const fetch = async () => {
    asked += 1;
    await Bun.sleep(1);
    return { value: `t${asked}`, expiresAt: Date.now() + 60_000 };
  };
  expect(await Promise.all([1, 2, 3].map(() => tokens.get(key, fetch)))).toEqual(["t1", "t1", "t1"]);
  expect(await tokens.get({ ...key, credentials: { ...ANONYMOUS, username: "me" } }, fetch)).toBe("t2");
  tokens.forget(key);
  expect(await tokens.get(key, fetch)).toBe("t3");
  const short = async () => ({ value: "short", expiresAt: Date.now() + 1000 });
  const other = { ...key, service: "other" };
  expect(await tokens.get(other, short)).toBe("short");
  expect(await tokens.get(other, fetch)).toBe("t4");
});

test("TokenCache doesn't give one caller's failure to another", async () => {
  const tokens = new TokenCache();
  const failing = tokens.get(key, async () => {
    await Bun.sleep(1);
    throw new Error("cancelled");
  });
  const other = tokens.get(key, async () => ({ value: "t", expiresAt: Date.now() + 60_000 }));
  await expect(failing).rejects.toThrow("cancelled");
  expect(await other).toBe("t");
});

test("joinScopes() joins actions of one resource", () => {
  expect(joinScopes(["repository:b:pull", "repository:a:push,pull", "repository:a:pull", "odd"])).toEqual([
    "repository:a:pull,push",
    "repository:b:pull",
  ]);
});

test("parseTokenAnswer() takes both names of a token, and any life of at least a minute", () => {
  expect(parseTokenAnswer('{"access_token":"x","expires_in":5,"refresh_token":"r"}', "here")).toEqual({
    token: "x",
    lifeS: 60,
    refreshToken: "r",
  });
  expect(parseTokenAnswer('{"token":"y","expires_in":300}', "here").lifeS).toBe(300);
});

test("parseTokenAnswer() never gives a token that breaks a header", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.string().map((token) => JSON.stringify({ token })),
      ),
      (body) => {
        try {
          expect(parseTokenAnswer(body, "here").token).toMatch(/^[\x21-\x7e]+$/);
        } catch (error) {
          expect(error).toMatchObject({ code: "unauthenticated", message: "here gave no token" });
        }
      },
    ),
  );
});
