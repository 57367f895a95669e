import { expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { run, tempDir } from "@longshore/testkit";
import { binDir } from "./engine-client.ts";
import { notifySocket } from "./notify-socket.ts";

setDefaultTimeout(60_000);
const services = path.resolve(import.meta.dir, "../..");
const units = ["containerd", "registry-client", "dockerd"].flatMap((name) => {
  const dir = path.join(services, name, "packaging");
  return fs
    .readdirSync(dir)
    .filter((file) => /\.(service|socket)$/.test(file))
    .map((file) => path.join(dir, file));
});

test("units: each daemon's, whose end ends no container", () => {
  expect(units.map((file) => path.basename(file))).toEqual([
    "longshore-containerd.service",
    "longshore-registry-client.service",
    "longshore-dockerd.service",
    "longshore-dockerd.socket",
  ]);
  for (const file of units.filter((each) => each.endsWith(".service"))) {
    const text = fs.readFileSync(file, "utf8");
    expect(text).toContain("Type=notify\n");
    if (file.includes("registry")) continue;
    for (const line of ["KillMode=process\n", "Delegate=yes\n"]) expect(text).toContain(line);
  }
});

test.skipIf(findExecutable("systemd-analyze") === undefined)(
  "units: systemd finds nothing to complain of",
  async () => {
    using dir = tempDir();
    const copies = units.map((file) => {
      const copy = path.join(dir.path, path.basename(file));
      fs.writeFileSync(copy, fs.readFileSync(file, "utf8").replaceAll("/opt/longshore/bin", binDir));
      return copy;
    });
    const { status, stdout, stderr } = await run(["systemd-analyze", "verify", "--man=no", ...copies]);
    // Of units that are the machine's own it may say what it likes.
    const complaints = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("longshore"));
    expect([status, complaints]).toEqual([0, []]);
  },
);

test("containerd and registry-client tell their supervisor when they serve, and when they end", async () => {
  using dir = tempDir();
  const at = (name: string) => path.join(dir.path, name);
  using notified = notifySocket(dir.path);
  const containerd = ["containerd", "--address", at("c.sock"), "--root", at("root"), "--state", at("state")];
  const registry = ["registry-client", "serve", "--address", at("r.sock"), "--containerd", at("c.sock")];
  for (const [name = "", ...args] of [containerd, registry]) {
    const child = Bun.spawn([path.join(binDir, name), ...args], {
      env: { ...process.env, NOTIFY_SOCKET: notified.path },
      stdio: ["ignore", "ignore", "ignore"],
    });
    try {
      expect([name, notified.told()]).toEqual([name, "READY=1"]);
    } finally {
      child.kill("SIGTERM");
    }
    expect([name, notified.told()]).toEqual([name, "STOPPING=1"]);
    await child.exited;
  }
});
