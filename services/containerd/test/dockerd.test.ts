import { describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type CommandResult, eventually, output, run } from "@longshore/testkit";
import { Daemon, haveCtr } from "./daemon.ts";

const DOCKERD = "/usr/sbin/dockerd";
const haveDockerd = fs.existsSync(DOCKERD);
if (!haveDockerd) console.warn("skipped: no real dockerd on this machine (package docker.io)");

/** Debian's dockerd on a containerd of ours, without networks of its own. */
class RealDockerd implements AsyncDisposable {
  readonly #dir: string;
  readonly #process: ChildProcess;
  readonly #host: string;

  constructor(daemon: Daemon) {
    this.#dir = path.join(daemon.dir.path, "docker");
    fs.mkdirSync(this.#dir);
    this.#host = `unix://${this.#dir}/d.sock`;
    const places = ["--data-root", `${this.#dir}/root`, "--exec-root", `${this.#dir}/exec`];
    const namespaces = [
      "--containerd-namespace",
      daemon.namespace,
      "--containerd-plugins-namespace",
      "plugins",
    ];
    const off = ["--bridge", "none", "--iptables=false", "--ip6tables=false"];
    const args = ["--containerd", daemon.address, "-H", this.#host, "--pidfile", `${this.#dir}/pid`];
    const log = fs.openSync(path.join(this.#dir, "log"), "a");
    this.#process = spawn(DOCKERD, [...args, ...places, ...namespaces, ...off], {
      stdio: ["ignore", log, log],
    });
    fs.closeSync(log);
  }

  async docker(...args: string[]): Promise<CommandResult> {
    return await run(["docker", "-H", this.#host, ...args], { timeoutMs: 30_000 });
  }

  /** Wait until it serves, and give it an image made from a directory. */
  async prepare(image: string, rootfs: string): Promise<void> {
    await eventually(async () => (await this.docker("version")).status === 0, { timeoutMs: 20_000 });
    const archive = path.join(this.#dir, "rootfs.tar");
    await output(["tar", "-C", rootfs, "-cf", archive, "."]);
    await output(["docker", "-H", this.#host, "import", archive, image]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill("SIGTERM");
    await ended;
  }
}

describe.skipIf(!haveCtr || !haveDockerd)("Debian's dockerd", () => {
  test("runs, execs in, watches and stops containers, and notices when containerd comes back", async () => {
    await using daemon = await Daemon.start();
    await using dockerd = new RealDockerd(daemon);
    await dockerd.prepare("bb", daemon.rootfs);
    const none = ["--network", "none"];
    expect(
      await dockerd.docker("run", "--rm", ...none, "bb", "/bin/sh", "-c", "echo out; exit 4"),
    ).toMatchObject({
      status: 4,
      stdout: "out\n",
    });
    expect(
      (await dockerd.docker("run", "-d", "--name", "c1", ...none, "bb", "/bin/sleep", "1000")).status,
    ).toBe(0);
    const exec = await dockerd.docker("exec", "c1", "/bin/sh", "-c", "echo in; exit 6");
    expect([exec.status, exec.stdout]).toEqual([6, "in\n"]);
    expect((await dockerd.docker("top", "c1")).stdout).toContain("/bin/sleep 1000");
    expect((await dockerd.docker("stats", "--no-stream", "c1")).stdout).toMatch(/c1 .*MiB|KiB/);
    await dockerd.docker("pause", "c1");
    expect((await dockerd.docker("ps", "--format", "{{.Status}}")).stdout).toContain("(Paused)");
    await dockerd.docker("unpause", "c1");

    await daemon.signal("SIGKILL");
    await daemon.start();
    await eventually(
      async () => (await dockerd.docker("exec", "c1", "/bin/echo", "again")).stdout === "again\n",
      {
        timeoutMs: 30_000,
      },
    );
    expect((await dockerd.docker("stop", "-t", "1", "c1")).status).toBe(0);
    const { stdout } = await dockerd.docker("ps", "-a", "--format", "{{.Status}}");
    expect(stdout).toContain("Exited (137)");
    expect((await dockerd.docker("rm", "c1")).status).toBe(0);
    expect(await daemon.tasks()).toEqual([]);
  }, 90_000);
});
