import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { isOlder } from "./client.ts";
import { Contexts } from "./contexts.ts";
import { engineHost } from "./host.ts";

test("engineHost() takes the flag, the environment, then the suite's own socket", () => {
  expect(engineHost("unix:///a", { DOCKER_HOST: "unix:///b" }).unix).toBe("/a");
  expect(engineHost("", { DOCKER_HOST: "unix:///b" }).unix).toBe("/b");
  expect(engineHost(undefined, { HOME: "/nosuch" }).unix).toBe("/run/longshore/docker.sock");
  expect(engineHost("tcp://[::1]:99", {}).tcp).toEqual({ hostname: "::1", port: 99 });
  expect(engineHost("tcp://h.example", {}).tcp).toEqual({ hostname: "h.example", port: 2375 });
});

test.each([
  ["ssh://x", {}, "ssh:// is not supported"],
  [undefined, { DOCKER_CONTEXT: "far", DOCKER_CONFIG: "/nosuch" }, 'context "far" does not exist'],
])("engineHost(%p) is refused by name", (flag, env, message) => {
  expect(() => engineHost(flag, env)).toThrow(message);
});

test("isOlder() compares by number, not by text", () => {
  expect([isOlder("1.9", "1.10"), isOlder("1.41", "1.41"), isOlder("2.0", "1.99")]).toEqual([
    true,
    false,
    false,
  ]);
});

test("engineHost() takes the context of the environment or of the configuration, unless a host is given", () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "contexts-"));
  try {
    const contexts = new Contexts(directory);
    contexts.put({ name: "far", description: "", host: "tcp://far.example:1" });
    contexts.put({ name: "near", description: "d", host: "unix:///near" });
    const env = { DOCKER_CONFIG: directory };
    expect(engineHost(undefined, env).unix).toBe("/run/longshore/docker.sock");
    contexts.use("near");
    expect(engineHost(undefined, env).unix).toBe("/near");
    expect(engineHost(undefined, { ...env, DOCKER_CONTEXT: "far" }).tcp?.hostname).toBe("far.example");
    expect(engineHost(undefined, { ...env, DOCKER_CONTEXT: "far", DOCKER_HOST: "unix:///x" }).unix).toBe(
      "/x",
    );
    expect(engineHost("unix:///y", { ...env, DOCKER_CONTEXT: "far" }).unix).toBe("/y");
    contexts.remove("near");
    expect(() => engineHost(undefined, env)).toThrow('context "near" does not exist');
    contexts.use("default");
    expect(contexts.current()).toBe("default");
    expect(contexts.list().map(({ name }) => name)).toEqual(["far"]);
    expect(() => contexts.put({ name: "../x", description: "", host: "" })).toThrow("is invalid");
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test("engineHost() secures TCP as flags and environment ask for it", () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "tls-"));
  try {
    const env = { DOCKER_CERT_PATH: directory };
    expect(engineHost("tcp://h", env).tls).toBeUndefined();
    expect(engineHost("tcp://h", { ...env, DOCKER_TLS: "1" })).toMatchObject({
      tcp: { port: 2376 },
      tls: { ca: undefined, cert: undefined, verify: false },
    });
    for (const name of ["ca", "cert", "key"]) fs.writeFileSync(path.join(directory, `${name}.pem`), name);
    const verified = engineHost("tcp://h:1", { ...env, DOCKER_TLS_VERIFY: "1" });
    expect(verified.tls).toEqual({
      ...{ ca: Buffer.from("ca"), cert: Buffer.from("cert"), key: Buffer.from("key") },
      verify: true,
    });
    expect(engineHost("tcp://h", env, { verify: false }).tls?.verify).toBe(false);
    expect(engineHost("tcp://h", env, { tls: true, ca: path.join(directory, "key.pem") }).tls?.ca).toEqual(
      Buffer.from("key"),
    );
    expect(() => engineHost("tcp://h", env, { tls: true, ca: "/no/such" })).toThrow(
      "could not read /no/such",
    );
    fs.rmSync(path.join(directory, "key.pem"));
    expect(() => engineHost("tcp://h", env, { tls: true })).toThrow("must be given with its key");
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});
