import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { eventually } from "./eventually.ts";
import { freePort } from "./registry.ts";
import { tempDir } from "./temp-dir.ts";

/** Debian's nats-server; undefined where it is not installed. */
export const natsServer = findExecutable("nats-server");

/** A NATS server with JetStream and the token `secret` for one test, on its own loopback port. */
export class NatsServer implements AsyncDisposable {
  readonly #dir = tempDir();
  readonly dir = this.#dir.path;
  readonly tokenFile = path.join(this.dir, "token");
  /** The same token, for clients that trust only the process that `FILE.pid` names. */
  readonly guardedTokenFile = path.join(this.dir, "guarded");
  readonly port: number;
  readonly url: string;
  #process: ChildProcess | undefined;

  /** Choose a port. The server does not run yet. */
  static async make(): Promise<NatsServer> {
    return new NatsServer(await freePort());
  }

  private constructor(port: number) {
    this.port = port;
    this.url = `nats://127.0.0.1:${port}`;
    for (const file of [this.tokenFile, this.guardedTokenFile])
      fs.writeFileSync(file, "secret\n", { mode: 0o600 });
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /**
   * Start the server and wait until it takes connections.
   *
   * @param under a program that executes the server, with its arguments
   */
  async start(under: string[] = []): Promise<void> {
    if (!natsServer) throw new Error("nats-server is not installed");
    const config = path.join(this.dir, "conf");
    const lines = [
      `listen: "127.0.0.1:${this.port}"`,
      `pid_file: "${this.guardedTokenFile}.pid"`,
      'authorization { token: "secret" }',
      `jetstream { store_dir: "${this.dir}/js" }`,
    ];
    fs.writeFileSync(config, `${lines.join("\n")}\n`);
    const [program = "", ...args] = [...under, natsServer, "-c", config];
    this.#process = spawn(program, args, { stdio: "ignore" });
    await eventually(() => takesConnections(this.port), { what: "nats-server" });
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#dir[Symbol.dispose]();
  }
}

async function takesConnections(port: number): Promise<boolean> {
  const socket = net.connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } finally {
    socket.destroy();
  }
}
