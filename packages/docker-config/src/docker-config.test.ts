import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { credentialHelper, type Login, parseLogin } from "./credential-helper.ts";
import { ANONYMOUS } from "./credentials.ts";
import { DockerConfig, parseConfig } from "./docker-config.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-config-"));
afterAll(() => fs.rmSync(root, { recursive: true }));
const { signal } = new AbortController();
const base64 = (text: string) => Buffer.from(text).toString("base64");

function configOf(json: unknown): string {
  const dir = fs.mkdtempSync(path.join(root, "c-"));
  fs.writeFileSync(path.join(dir, "config.json"), JSON.stringify(json));
  return dir;
}

function fakeHelpers() {
  const kept = new Map<string, Login>();
  const helper = (name: string) => ({
    name,
    get: async (server: string) => kept.get(`${name} ${server}`),
    store: async (server: string, login: Login) => void kept.set(`${name} ${server}`, login),
    erase: async (server: string) => void kept.delete(`${name} ${server}`),
  });
  return { kept, helper };
}

test("DockerConfig finds what is kept, however the registry is spelled", async () => {
  const config = DockerConfig.read(
    configOf({
      auths: {
        "https://index.docker.io/v1/": { auth: base64("hub:a:b") },
        "r.example:5000": { username: "u", password: "p" },
        "https://old.example/v1/": { auth: base64("old:x"), identitytoken: "id" },
        "token.example": { registrytoken: "rt" },
      },
    }),
  );
  const get = (domain: string) => config.get(domain, signal);
  expect(await get("docker.io")).toEqual({ ...ANONYMOUS, username: "hub", password: "a:b" });
  expect(await get("r.example:5000")).toEqual({ ...ANONYMOUS, username: "u", password: "p" });
  expect(await get("r.example")).toEqual(ANONYMOUS);
  expect(await get("old.example")).toMatchObject({ username: "old", identityToken: "id" });
  expect(await get("token.example")).toMatchObject({ registryToken: "rt" });
});

test("DockerConfig asks the helper of a host before the common one, and that before the file", async () => {
  const { kept, helper } = fakeHelpers();
  kept.set("own r.example", { username: "<token>", secret: "refresh" });
  kept.set("common s.example", { username: "u", secret: "p" });
  const dir = configOf({
    credsStore: "common",
    credHelpers: { "r.example": "own" },
    auths: { "r.example": { auth: base64("no:no") } },
  });
  const config = DockerConfig.read(dir, helper);
  expect(await config.get("r.example", signal)).toEqual({ ...ANONYMOUS, identityToken: "refresh" });
  expect(await config.get("s.example", signal)).toMatchObject({ username: "u", password: "p" });
  expect(await config.get("t.example", signal)).toEqual(ANONYMOUS);
});

test("DockerConfig keeps and forgets logins, and all else that the file says", async () => {
  const dir = configOf({
    HttpHeaders: { a: "b" },
    auths: { "https://r.example": { auth: base64("old:old") } },
  });
  const put = DockerConfig.read(dir);
  expect(await put.put("s.example", { ...ANONYMOUS, username: "me", password: "pw" }, signal)).toBe(put.file);
  await put.put("docker.io", { ...ANONYMOUS, username: "me", identityToken: "id" }, signal);
  expect(fs.statSync(put.file).mode & 0o777).toBe(0o600);
  expect(fs.readdirSync(dir)).toEqual(["config.json"]);
  const again = DockerConfig.read(dir);
  expect(await again.get("s.example", signal)).toMatchObject({ username: "me", password: "pw" });
  expect(await again.get("docker.io", signal)).toMatchObject({ username: "me", identityToken: "id" });
  expect(await again.remove("r.example", signal)).toBe(true);
  expect(await again.remove("r.example", signal)).toBe(false);
  expect(JSON.parse(fs.readFileSync(put.file, "utf8"))).toMatchObject({ HttpHeaders: { a: "b" } });
  expect(await DockerConfig.read(dir).get("r.example", signal)).toEqual(ANONYMOUS);
});

test("DockerConfig gives secrets to the helper only", async () => {
  const { kept, helper } = fakeHelpers();
  const dir = configOf({ credsStore: "x" });
  const config = DockerConfig.read(dir, helper);
  await config.put("r.example", { ...ANONYMOUS, username: "me", password: "pw" }, signal);
  expect(kept.get("x r.example")).toEqual({ username: "me", secret: "pw" });
  expect(fs.readFileSync(config.file, "utf8")).not.toContain(base64("me:pw"));
  expect(await config.remove("r.example", signal)).toBe(true);
  expect(kept.size).toBe(0);
});

test("credentialHelper() runs the program, and refuses names that lead elsewhere", async () => {
  const bin = path.join(root, "docker-credential-longshoretest");
  const script = `#!/bin/sh
read server
case "$1 $server" in
"get r.example") echo '{"ServerURL":"r.example","Username":"u","Secret":"s"}' ;;
"get none") echo 'credentials not found in native keychain'; exit 1 ;;
*) echo "broken: $server"; exit 2 ;;
esac
`;
  fs.writeFileSync(bin, script, { mode: 0o755 });
  const before = process.env.PATH;
  process.env.PATH = `${root}:${before}`;
  try {
    const helper = credentialHelper("longshoretest");
    expect(await helper.get("r.example", signal)).toEqual({ username: "u", secret: "s" });
    expect(await helper.get("none", signal)).toBeUndefined();
    await expect(helper.get("other", signal)).rejects.toThrow("exit status 2, out: `broken: other`");
    await expect(credentialHelper("longshore-nowhere").get("x", signal)).rejects.toThrow(
      "docker-credential-",
    );
  } finally {
    process.env.PATH = before;
  }
  for (const name of ["../x", "a/b", ""])
    expect(() => credentialHelper(name)).toThrow("invalid credential helper");
});

test("parseConfig() gives an object or one clear error for any text", () => {
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    fc.record({ auths: fc.jsonValue() }).map((v) => JSON.stringify(v)),
  );
  fc.assert(
    fc.property(text, (config) => {
      try {
        expect(typeof parseConfig(config, "c.json")).toBe("object");
      } catch (error) {
        expect(error).toMatchObject({ code: "invalid_argument" });
      }
    }),
  );
});

test("parseLogin() never shows what a helper said", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (out) => {
      try {
        parseLogin(out, "x");
      } catch (error) {
        expect(error).toMatchObject({ message: "docker-credential-x gave no credentials" });
      }
    }),
  );
});
