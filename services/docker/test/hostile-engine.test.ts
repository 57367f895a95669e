import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { type TestEntry, tarBlocks } from "@longshore/archive/testing";
import { run, tempDir } from "@longshore/testkit";
import { binary } from "./real-engine.ts";

// An engine that answers `docker cp` with an archive of its own choice.

const dir = tempDir();
const outside = path.join(dir.path, "outside");
const home = path.join(dir.path, "home");
let entries: TestEntry[] = [];
let server: http.Server;
const env = { DOCKER_HOST: `unix://${dir.path}/engine.sock`, DOCKER_CONFIG: path.join(dir.path, "config") };

beforeAll(async () => {
  server = http.createServer((request, response) => {
    if (!request.url?.includes("/archive")) {
      response.writeHead(200, { "API-Version": "1.41", "Content-Type": "text/plain" }).end("OK");
      return;
    }
    const stat = {
      name: "dir",
      size: 0,
      mode: 2 ** 31 + 0o755,
      mtime: "2020-01-01T00:00:00Z",
      linkTarget: "",
    };
    const header = Buffer.from(JSON.stringify(stat)).toString("base64");
    response.writeHead(200, { "X-Docker-Container-Path-Stat": header, "Content-Type": "application/x-tar" });
    response.end(Buffer.concat([...entries.map(tarBlocks), Buffer.alloc(1024)]));
  });
  await new Promise<void>((resolve) => server.listen(path.join(dir.path, "engine.sock"), resolve));
});
beforeEach(() => {
  for (const place of [outside, home]) {
    fs.rmSync(place, { recursive: true, force: true });
    fs.mkdirSync(place);
  }
  fs.writeFileSync(path.join(outside, "secret"), "mine", { mode: 0o600 });
  fs.writeFileSync(path.join(home, "profile"), "mine");
});
afterAll(() => {
  server.close();
  dir[Symbol.dispose]();
});

const cp = (sent: TestEntry[], ...args: string[]) => {
  entries = sent;
  return run([binary, "cp", ...args], { env, cwd: home });
};

function expectUntouched(): void {
  expect(fs.readdirSync(outside)).toEqual(["secret"]);
  expect(fs.readFileSync(path.join(outside, "secret"), "utf8")).toBe("mine");
  expect(fs.statSync(path.join(outside, "secret")).mode & 0o7777).toBe(0o600);
  expect(fs.readFileSync(path.join(home, "profile"), "utf8")).toBe("mine");
}

test.each([
  ["absolute", outside],
  ["relative", "../../outside"],
])("cp follows no %s link of the archive out of the destination", async (_, target) => {
  const { status, stderr } = await cp(
    [
      { name: "dir/", type: "5", mode: 0o755 },
      { name: "dir/link", type: "2", linkName: target },
      { name: "dir/link/secret", content: "theirs" },
    ],
    "c:/dir",
    "./copy",
  );
  expectUntouched();
  expect(stderr).toContain("leads out of the destination");
  expect(status).toBe(1);
});

test("cp links nothing outside the destination, and changes no file beside it", async () => {
  await cp(
    [
      { name: "dir/", type: "5" },
      { name: "dir/../profile", content: "theirs" },
    ],
    "c:/dir",
    "./copy",
  );
  expectUntouched();
  await cp(
    [
      { name: "dir/", type: "5" },
      { name: "dir/link", type: "2", linkName: outside },
      { name: "dir/hard", type: "1", linkName: "dir/link/secret" },
    ],
    "c:/dir",
    "./other",
  );
  expectUntouched();
  expect(fs.existsSync(path.join(home, "other/hard"))).toBe(false);
  expect(fs.statSync(path.join(outside, "secret")).nlink).toBe(1);
});

test("cp makes no device, and sets set-user-id and set-group-id only with --archive", async () => {
  const sent: TestEntry[] = [
    { name: "dir/", type: "5", mode: 0o2755 },
    { name: "dir/su", content: "x", mode: 0o6755 },
    { name: "dir/disk", type: "4", major: 8, minor: 0, mode: 0o666 },
    { name: "dir/zero", type: "3", major: 1, minor: 5, mode: 0o666 },
    { name: "dir/pipe", type: "6", mode: 0o600 },
  ];
  const plain = await cp(sent, "c:/dir", "./plain");
  expect(plain.status).toBe(0);
  expect(plain.stderr).toContain('WARNING: the device "dir/disk" is not copied');
  expect(fs.readdirSync(path.join(home, "plain")).sort()).toEqual(["pipe", "su"]);
  const mode = (name: string) => (fs.statSync(path.join(home, name)).mode & 0o7777).toString(8);
  expect([mode("plain/su"), mode("plain")]).toEqual(["755", "2755"]);
  expect((await cp(sent, "-a", "c:/dir", "./kept")).status).toBe(0);
  expect(mode("kept/su")).toBe("6755");
  expect(fs.readdirSync(path.join(home, "kept")).sort()).toEqual(["pipe", "su"]);
});

test("cp copies into a directory behind a link of the user's own, with links that stay in it", async () => {
  fs.symlinkSync(outside, path.join(home, "to-outside"));
  const sent: TestEntry[] = [
    { name: "dir/", type: "5", mode: 0o755 },
    { name: "dir/sub/", type: "5", mode: 0o755 },
    { name: "dir/link", type: "2", linkName: "sub" },
    { name: "dir/link/file", content: "x" },
    { name: "dir/absolute", type: "2", linkName: "/etc/passwd" },
  ];
  expect(await cp(sent, "c:/dir", "./to-outside")).toMatchObject({ status: 0 });
  expect(fs.readFileSync(path.join(outside, "dir/sub/file"), "utf8")).toBe("x");
  expect(fs.readlinkSync(path.join(outside, "dir/absolute"))).toBe("/etc/passwd");
});
