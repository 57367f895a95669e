import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { type Certificates, makeCertificates, run, type TempDir, tempDir } from "@longshore/testkit";
import { binary } from "./real-engine.ts";

/** An engine without containers, with TLS, that asks clients for a certificate of its authority's. */
let server: https.Server;
let dir: TempDir;
let certificates: Certificates;
beforeAll(async () => {
  dir = tempDir();
  certificates = makeCertificates(dir.path);
  const { ca, server: own } = certificates;
  const files = { ca: fs.readFileSync(ca), cert: fs.readFileSync(own.cert), key: fs.readFileSync(own.key) };
  server = https.createServer({ ...files, requestCert: true }, (request, response) => {
    response.setHeader("Api-Version", "1.41").setHeader("Content-Type", "application/json");
    response.end(request.url?.endsWith("/_ping") ? "" : "[]");
  });
  await new Promise<void>((resolve) => server.listen(0, "0.0.0.0", resolve));
});
afterAll(() => {
  server.close();
  dir[Symbol.dispose]();
});

async function ps(args: string[], { host = "127.0.0.1", env = {} } = {}): Promise<string> {
  const { port } = server.address() as AddressInfo;
  const none = { DOCKER_CONFIG: path.join(dir.path, "none"), DOCKER_CERT_PATH: "", DOCKER_TLS: "" };
  const { status, stderr } = await run([binary, ...args, "-H", `tcp://${host}:${port}`, "ps", "-q"], {
    env: { ...none, DOCKER_TLS_VERIFY: "", ...env },
  });
  return status === 0 ? "served" : stderr;
}

test("--tlsverify: the engine must be who it says, by the given authority; it gets our certificate", async () => {
  const { ca, client, stranger } = certificates;
  const own = ["--tlscert", client.cert, "--tlskey", client.key];
  expect(await ps(["--tlsverify", "--tlscacert", ca, ...own])).toBe("served");
  expect(await ps(["--tlsverify", "--tlscacert", ca, ...own], { host: "localhost" })).toBe("served");
  expect(await ps(["--tlsverify", "--tlscacert", stranger.cert, ...own])).toContain(
    "self signed certificate",
  );
  expect(await ps(["--tlsverify", ...own])).toContain("self signed certificate");
  expect(await ps(["--tlsverify", "--tlscacert", ca, ...own], { host: "127.0.0.2" })).toContain(
    "does not match certificate's altnames",
  );
  const other = ["--tlscert", stranger.cert, "--tlskey", stranger.key];
  expect(await ps(["--tlsverify", "--tlscacert", ca, ...other])).toContain("error during connect");
  expect(await ps(["--tlsverify", "--tlscacert", ca])).toContain("error during connect");
  expect(await ps(["--tlsverify", "--tlscacert", "/no/such", ...own])).toContain("could not read /no/such");
  expect(await ps([])).toContain("error during connect");
});

test("--tls alone trusts whoever answers; files and environment do as the flags", async () => {
  const { ca, client } = certificates;
  expect(await ps(["--tls", "--tlscert", client.cert, "--tlskey", client.key])).toBe("served");
  const certs = path.join(dir.path, "certs");
  fs.mkdirSync(certs);
  for (const [name, file] of Object.entries({ ca, cert: client.cert, key: client.key }))
    fs.copyFileSync(file, path.join(certs, `${name}.pem`));
  expect(await ps([], { env: { DOCKER_CERT_PATH: certs, DOCKER_TLS_VERIFY: "1" } })).toBe("served");
  expect(await ps([], { env: { DOCKER_CERT_PATH: certs, DOCKER_TLS: "1" } })).toBe("served");
  expect(await ps(["--tlsverify"], { env: { DOCKER_CONFIG: certs } })).toBe("served");
  fs.rmSync(path.join(certs, "key.pem"));
  expect(await ps(["--tls"], { env: { DOCKER_CERT_PATH: certs } })).toContain("must be given with its key");
});
