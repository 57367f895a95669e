import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { findExecutable, type LocalImage } from "@longshore/suite";
import { eventually } from "./eventually.ts";

export interface Registry extends AsyncDisposable {
  /** `127.0.0.1:<port>`. */
  readonly host: string;
  push(name: string, tag: string, image: LocalImage): Promise<void>;
  stop(): Promise<void>;
}

/** A loopback port that nothing listens at. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("a TCP listener without a port");
  return address.port;
}

export interface RegistryOptions {
  /** Passwords by user: nobody else gets in. */
  users?: Readonly<Record<string, string>>;
}

function configOf(host: string, storage: string, htpasswd: string | undefined): string {
  return JSON.stringify({
    version: 0.1,
    log: { level: "warn" },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
    http: { addr: host },
    ...(htpasswd !== undefined && { auth: { htpasswd: { realm: "test", path: htpasswd } } }),
  });
}

/**
 * The distribution's registry server (Debian's package docker-registry) with its storage below `dir`.
 * Undefined when it isn't installed.
 */
export async function startRegistry(
  dir: string,
  { users }: RegistryOptions = {},
): Promise<Registry | undefined> {
  const file = findExecutable("docker-registry");
  if (!file) return undefined;
  const host = `127.0.0.1:${await freePort()}`;
  const config = path.join(dir, "registry.yml");
  const htpasswd = users && path.join(dir, "htpasswd");
  if (users && htpasswd) {
    const lines = Object.entries(users).map(
      ([name, password]) => `${name}:${Bun.password.hashSync(password, { algorithm: "bcrypt", cost: 4 })}\n`,
    );
    fs.writeFileSync(htpasswd, lines.join(""), { mode: 0o600 });
  }
  fs.writeFileSync(config, configOf(host, path.join(dir, "registry"), htpasswd));
  const log = fs.openSync(path.join(dir, "registry.log"), "a");
  const child = spawn(file, ["serve", config], { stdio: ["ignore", log, log] });
  fs.closeSync(log);
  const stop = () => stopped(child);
  try {
    await eventually(async () => (await fetch(`http://${host}/v2/`)).status < 500, {
      what: "the registry's answer",
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    host,
    push: (name, tag, image) => pushImage(host, name, tag, image),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

async function expectStatus(response: Response, status: number, what: string): Promise<Response> {
  if (response.status === status) return response;
  throw new Error(`${what}: ${response.status} ${await response.text()}`);
}

/** Put an image into a registry, by the OCI distribution specification. */
export async function pushImage(host: string, name: string, tag: string, image: LocalImage): Promise<void> {
  const base = `http://${host}/v2/${name}`;
  for (const { digest, bytes } of image.blobs) {
    if ((await fetch(`${base}/blobs/${digest}`, { method: "HEAD" })).ok) continue;
    const begun = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
    const location = (await expectStatus(begun, 202, `upload to ${name}`)).headers.get("location") ?? "";
    const target = new URL(location, base);
    target.searchParams.set("digest", digest);
    const headers = { "content-type": "application/octet-stream" };
    await expectStatus(
      await fetch(target, { method: "PUT", headers, body: new Uint8Array(bytes) }),
      201,
      digest,
    );
  }
  const { bytes, mediaType } = image.manifest;
  const put = await fetch(`${base}/manifests/${tag}`, {
    method: "PUT",
    headers: { "content-type": mediaType },
    body: new Uint8Array(bytes),
  });
  await expectStatus(put, 201, `${name}:${tag}`);
}
