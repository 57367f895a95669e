import { expect, test } from "bun:test";
import fc from "fast-check";
import { proxyFor, takeProxySettings, withOwnProxies } from "./proxies.ts";

const settings = { httpProxy: "http://u:p@p.example:3128", httpsProxy: "s.example:1", noProxy: "" };

test("takeProxySettings() takes the variables out of the environment, capitals first", () => {
  const env: NodeJS.ProcessEnv = {
    HTTP_PROXY: "a",
    http_proxy: "b",
    https_proxy: "c",
    no_proxy: "d",
    X: "y",
  };
  expect(takeProxySettings(env)).toEqual({ httpProxy: "a", httpsProxy: "c", noProxy: "d" });
  expect(env).toEqual({ X: "y" });
});

test("withOwnProxies() leaves what a caller says nothing of as it is", () => {
  const own = { httpProxy: "a", httpsProxy: "b", noProxy: "c" };
  const given = { httpProxy: "", httpsProxy: "x", noProxy: "" };
  expect(withOwnProxies(given, own)).toEqual({ httpProxy: "a", httpsProxy: "x", noProxy: "c" });
  expect(withOwnProxies(given, undefined)).toEqual(given);
});

test("proxyFor() goes by the scheme, and never for loopback", () => {
  expect(proxyFor(new URL("http://r.example"), settings)).toBe("http://u:p@p.example:3128/");
  expect(proxyFor(new URL("https://r.example"), settings)).toBe("http://s.example:1/");
  expect(proxyFor(new URL("http://127.0.0.1:5000"), settings)).toBeUndefined();
  expect(proxyFor(new URL("https://r.example"), { ...settings, httpsProxy: "" })).toBeUndefined();
});

test("proxyFor() refuses SOCKS and what is no address", () => {
  const through = (httpProxy: string) => () =>
    proxyFor(new URL("http://r.example"), { ...settings, httpProxy });
  expect(through("socks5://p:1")).toThrow("SOCKS proxies are not supported");
  expect(through("http://")).toThrow("invalid proxy address");
});

test.each([
  ["*", "http://r.example", true],
  ["example", "http://r.example", true],
  ["r.example", "http://r.example:5000", true],
  ["r.example:80", "http://r.example", true],
  ["r.example:80", "https://r.example", false],
  [".example", "http://example", false],
  [".example", "http://a.b.example", true],
  ["*.example", "http://a.example", true],
  ["xample", "http://r.example", false],
  ["10.0.0.0/8", "http://10.1.2.3:5000", true],
  ["10.0.0.0/8", "http://11.1.2.3", false],
  ["10.1.2.3", "http://10.1.2.3", true],
  ["1.2.3", "http://0.1.2.3", false],
  ["a, b , R.Example", "http://r.example", true],
  ["fd00::/8", "http://[fd00::1]:5000", true],
  ["[fd00::1]:5000", "http://[fd00::1]:5000", true],
])("NO_PROXY=%j for %s: direct is %p", (noProxy, url, direct) => {
  expect(proxyFor(new URL(url), { ...settings, noProxy }) === undefined).toBe(direct);
});

test("proxyFor() decides for any NO_PROXY", () => {
  fc.assert(
    fc.property(
      fc.string(),
      (noProxy) => void proxyFor(new URL("http://r.example"), { ...settings, noProxy }),
    ),
  );
});
