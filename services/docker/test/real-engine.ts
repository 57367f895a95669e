import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { busyboxImage, findExecutable, findStaticBusybox } from "@longshore/suite";
import { eventually, output, startRegistry, tempDir } from "@longshore/testkit";

const binDir = process.env.LONGSHORE_TEST_BIN_DIR ?? path.resolve(import.meta.dirname, "../../../dist/bin");
/** Our client. */
export const binary = path.join(binDir, "docker");

const dockerd = ["/usr/sbin/dockerd", "/usr/bin/dockerd"].find((file) => fs.existsSync(file));

/** A client of Docker's own to compare with, not older than those whose words ours has (28); undefined when there is none. */
export async function referenceClient(): Promise<string | undefined> {
  for (const file of ["/usr/local/bin/docker", "/usr/bin/docker"]) {
    if (!fs.existsSync(file)) continue;
    const [, major] = /^Docker version (\d+)\./.exec(await output([file, "--version"])) ?? [];
    if (Number(major) >= 28) return file;
  }
  return undefined;
}

/** Why a real engine can't be started; empty when it can. */
export function skipReason(): string {
  if (!fs.existsSync(binary)) return `${binary} is not built`;
  if (!dockerd) return "no dockerd on this machine (package docker.io)";
  if (process.getuid?.() !== 0) return "not root";
  if (!findStaticBusybox()) return "no static busybox (package busybox-static)";
  const missing = ["docker-registry", "containerd"].filter((name) => !findExecutable(name));
  return missing.length > 0 ? `not installed: ${missing.join(", ")}` : "";
}

export interface RealEngine extends AsyncDisposable {
  /** `unix://…` */
  readonly host: string;
  /** In the engine's registry: `127.0.0.1:<port>/busybox:1`. */
  readonly image: string;
  readonly registry: string;
}

/** A real dockerd with its own directories and no network, and a registry that holds a busybox image. */
export async function startRealEngine(): Promise<RealEngine> {
  const undo = new AsyncDisposableStack();
  const dir = undo.use(tempDir()).path;
  const registry = await startRegistry(dir);
  const busybox = findStaticBusybox();
  if (!registry || !dockerd || !busybox) throw new Error(skipReason());
  undo.use(registry);
  await registry.push("busybox", "1", busyboxImage(busybox));

  const socket = path.join(dir, "d.sock");
  const host = `unix://${socket}`;
  fs.writeFileSync(path.join(dir, "dockerd.json"), "{}");
  const log = fs.openSync(path.join(dir, "dockerd.log"), "w");
  const child = spawn(
    dockerd,
    [
      ...["--config-file", path.join(dir, "dockerd.json"), "-H", host, "-p", path.join(dir, "pid")],
      ...["--data-root", path.join(dir, "data"), "--exec-root", path.join(dir, "exec")],
      ...["--bridge", "none", "--iptables=false", "--ip6tables=false"],
    ],
    { stdio: ["ignore", log, log] },
  );
  fs.closeSync(log);
  const exited = new Promise((resolve) => child.once("exit", resolve));
  undo.defer(async () => {
    child.kill("SIGTERM");
    await exited;
    for (const sandbox of mounts(path.join(dir, "exec/netns"))) await output(["umount", sandbox]);
  });
  undo.defer(async () => {
    const ids = await output([binary, "-H", host, "ps", "-aq"]);
    if (ids) await output([binary, "-H", host, "rm", "-f", ...ids.split("\n")]);
  });
  await eventually(() => fs.existsSync(socket), { what: "dockerd's socket", timeoutMs: 20_000 });
  await output([binary, "-H", host, "ps"]);
  const image = `${registry.host}/busybox:1`;
  const owned = undo.move();
  return { host, image, registry: registry.host, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** dockerd leaves the mount of its host network's sandbox behind. */
function mounts(below: string): string[] {
  const lines = fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.map((line) => line.split(" ")[4] ?? "").filter((point) => point.startsWith(below));
}
