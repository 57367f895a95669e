import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { readCertificates } from "./certificates.ts";
import { isLoopbackHost } from "./endpoint.ts";
import { certificatesFor, endpointsOf, isInNetwork } from "./hosts.ts";
import { parseHostsFile } from "./hosts-file.ts";
import { backoff, retryAfterMs } from "./retry.ts";

const none = { insecureRegistries: [], mirrors: [] };
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-hosts-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

/** A directory of `certs.d` with files of these contents. */
function certsDir(host: string, files: Record<string, string>): string {
  const root = fs.mkdtempSync(path.join(dir, "certs-"));
  fs.mkdirSync(path.join(root, host));
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(root, host, name), text);
  return root;
}

test("endpointsOf() allows plain http on loopback and for registries called insecure", () => {
  expect(endpointsOf("r.example:5000", none)).toMatchObject([
    { api: "https://r.example:5000/v2", insecure: false, mirror: false },
  ]);
  const insecure = (domain: string, ...insecureRegistries: string[]) =>
    endpointsOf(domain, { ...none, insecureRegistries })[0]?.insecure;
  expect(insecure("127.0.0.1:5000")).toBe(true);
  expect(insecure("r.example", "r.example")).toBe(true);
  expect(insecure("r.example", "r.example:5000")).toBe(false);
  expect(insecure("10.1.2.3:5000", "10.0.0.0/8")).toBe(true);
  expect(insecure("11.1.2.3:5000", "10.0.0.0/8")).toBe(false);
});

const idle = new AbortController().signal;

test("isInNetwork() waits for no answer when it is told not to", async () => {
  const stop = new AbortController();
  const never = () => new Promise<string[]>(() => {});
  const asked = isInNetwork("r.example", ["10.0.0.0/8"], stop.signal, never);
  stop.abort(new Error("enough"));
  await expect(asked).rejects.toThrow("enough");
  // Nobody is asked any more, so that no failure is without anyone who hears of it.
  const names: string[] = [];
  const failing = async (name: string): Promise<string[]> => {
    names.push(name);
    throw new Error("no resolver");
  };
  await expect(isInNetwork("r.example", ["10.0.0.0/8"], stop.signal, failing)).rejects.toThrow("enough");
  expect(names).toEqual([]);
});

test("isInNetwork() looks where a name leads to, and only where there are networks", async () => {
  const asked: string[] = [];
  const resolve = async (name: string) => {
    asked.push(name);
    return ["192.0.2.1", "10.1.2.3"];
  };
  expect(await isInNetwork("r.example:5000", ["10.0.0.0/8"], idle, resolve)).toBe(true);
  expect(await isInNetwork("r.example", ["10.2.0.0/16", "fd00::/8"], idle, resolve)).toBe(false);
  expect(asked).toEqual(["r.example", "r.example"]);
  expect(await isInNetwork("r.example", ["r.example"], idle, resolve)).toBe(false);
  expect(await isInNetwork("10.1.2.3:80", ["10.0.0.0/8"], idle, resolve)).toBe(false);
  expect(asked).toHaveLength(2);
  expect(await isInNetwork("no-such-name.invalid", ["10.0.0.0/8"], idle)).toBe(false);
});

test("endpointsOf() tries mirrors for Docker Hub only, before it", () => {
  const options = { ...none, mirrors: ["http://m.example/hub/"] };
  expect(endpointsOf("r.example", options)).toHaveLength(1);
  expect(
    endpointsOf("docker.io", options).map(({ api, mirror, capabilities }) => [api, mirror, capabilities]),
  ).toEqual([
    ["http://m.example/hub/v2", true, ["resolve", "pull"]],
    ["https://registry-1.docker.io/v2", false, ["resolve", "pull", "push"]],
  ]);
});

test("endpointsOf() follows a hosts.toml, and that of _default for other domains", () => {
  const toml = `
server = "https://r.example"
[host."https://mirror.example/prefix"]
  capabilities = ["pull"]
  override_path = true
  skip_verify = true
  ca = "own.pem"
  [host."https://mirror.example/prefix".header]
    x-team = ["a", "b"]
[host."http://plain.example:5000"]
`;
  const certsDirs = [certsDir("r.example", { "hosts.toml": toml, "own.pem": "PEM" })];
  const [mirror, plain, origin] = endpointsOf("r.example", { ...none, certsDirs });
  expect(mirror).toEqual({
    api: "https://mirror.example/prefix",
    insecure: true,
    mirror: true,
    capabilities: ["pull"],
    certificates: { ca: ["PEM"] },
    headers: { "x-team": "a, b" },
    namespace: "r.example",
  });
  expect(plain).toMatchObject({ api: "http://plain.example:5000/v2", insecure: true, mirror: true });
  expect(origin).toMatchObject({ api: "https://r.example/v2", insecure: false, mirror: false });
  expect(endpointsOf("other.example", { ...none, certsDirs })).toHaveLength(1);
  const fallback = certsDir("_default", { "hosts.toml": '[host."https://all.example"]' });
  expect(endpointsOf("any.example", { ...none, certsDirs: [fallback] }).map(({ api }) => api)).toEqual([
    "https://all.example/v2",
    "https://any.example/v2",
  ]);
});

test.each([
  ["[host", "hosts.toml"],
  ['[host."ftp://x"]', "no http(s) URL"],
  ['[host."https://x"]\ncapabilities = ["fly"]', 'unknown capability "fly"'],
  ['[host."https://x"]\nfrobnicate = 1', 'unknown key "frobnicate"'],
  ['[host."https://x"]\nca = "/nowhere.pem"', "ca: ENOENT"],
  ['[host."https://x".header]\n"a b" = "c"', "invalid header"],
  ["host = 7", "host must be a table"],
])("parseHostsFile(%j) is refused", (text, message) => {
  const origin = { file: path.join(dir, "hosts.toml"), domain: "r.example", server: "https://r.example" };
  expect(() => parseHostsFile(text, origin)).toThrow(message);
});

test("parseHostsFile() gives endpoints or one clear error for any text", () => {
  const origin = { file: path.join(dir, "hosts.toml"), domain: "r.example", server: "https://r.example" };
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom(
      '[host."https://x"]',
      'server = "y"',
      'capabilities = ["pull"]',
      "skip_verify = 1",
      "ca = []",
    ),
  );
  fc.assert(
    fc.property(fc.array(line), (lines) => {
      try {
        for (const { api } of parseHostsFile(lines.join("\n"), origin)) new URL(api);
      } catch (error) {
        expect(error).toMatchObject({ name: "EngineError", code: "invalid_argument" });
      }
    }),
  );
});

test("readCertificates() takes Docker's file names, and names the one that is missing", () => {
  const of = (files: Record<string, string>) => readCertificates(path.join(certsDir("h", files), "h"));
  expect(of({ "a.crt": "A", "b.crt": "B", "me.cert": "C", "me.key": "K", other: "" })).toEqual({
    ca: ["A", "B"],
    client: { cert: "C", key: "K" },
  });
  expect(() => of({ "me.cert": "C" })).toThrow("missing key me.key for client certificate me.cert");
  expect(() => of({ "me.key": "K" })).toThrow("missing client certificate me.cert for key me.key");
  expect(() => of({ "a.cert": "", "a.key": "", "b.cert": "", "b.key": "" })).toThrow("more than one");
  expect(readCertificates(path.join(dir, "nowhere"))).toEqual({ ca: [] });
});

test("certificatesFor() stays in its directory", () => {
  const options = { ...none, certsDirs: [certsDir("h:1", { "a.crt": "A" })] };
  expect(certificatesFor("h:1", options).ca).toEqual(["A"]);
  expect(certificatesFor("h", options).ca).toEqual([]);
  for (const host of ["..", ".", "a/../h:1", ""]) {
    expect(() => certificatesFor(host, options)).toThrow("invalid host");
  }
});

test.each([
  ["localhost", true],
  ["localhost:5000", true],
  ["127.0.0.1", true],
  ["127.9.9.9:1", true],
  ["[::1]:5000", true],
  ["127.0.0.1.example", false],
  ["localhost.example", false],
  ["10.0.0.1", false],
])("isLoopbackHost(%j) is %p", (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});

test("backoff() doubles up to a limit, with up to a quarter of jitter", () => {
  expect([1, 2, 3, 9].map((attempt) => backoff(attempt, 500, () => 0))).toEqual([500, 1000, 2000, 8000]);
  expect(backoff(1, 500, () => 1)).toBe(625);
});

test("retryAfterMs() reads seconds and dates", () => {
  const now = Date.parse("2026-11-23T00:00:00Z");
  expect(retryAfterMs("3")).toBe(3000);
  expect(retryAfterMs("Mon, 23 Nov 2026 00:00:05 GMT", now)).toBe(5000);
  expect(retryAfterMs("Mon, 23 Nov 2020 00:00:00 GMT", now)).toBe(0);
  expect(retryAfterMs("soon")).toBeUndefined();
  expect(retryAfterMs(null)).toBeUndefined();
});
