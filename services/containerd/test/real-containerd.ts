import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { eventually, tempDir } from "@longshore/testkit";

const FILE = ["/usr/bin/containerd", findExecutable("containerd") ?? ""].find((file) => fs.existsSync(file));

/** The distribution's containerd on directories of its own, to compare ours with. */
export class RealContainerd implements AsyncDisposable {
  readonly dir = tempDir();
  readonly address = path.join(this.dir.path, "c.sock");
  #process: ChildProcess | undefined;

  static async start(): Promise<RealContainerd> {
    const real = new RealContainerd();
    await real.#start();
    return real;
  }

  async #start(): Promise<void> {
    const { path: dir } = this.dir;
    const config = path.join(dir, "config.toml");
    // As quiet as ours about what the tests don't want collected.
    const text = `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[plugins."io.containerd.internal.v1.opt"]
path = "${dir}/opt"
`;
    fs.writeFileSync(config, text);
    const log = fs.openSync(path.join(dir, "log"), "a");
    const places = ["--address", this.address, "--root", `${dir}/root`, "--state", `${dir}/state`];
    this.#process = spawn(FILE ?? "", ["--config", config, ...places], { stdio: ["ignore", log, log] });
    fs.closeSync(log);
    const serving = () =>
      fs.readFileSync(path.join(dir, "log"), "utf8").includes("containerd successfully booted");
    await eventually(serving, { what: "the real containerd" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process?.once("exit", resolve));
    this.#process?.kill("SIGTERM");
    await ended;
    this.dir[Symbol.dispose]();
  }
}
