import fs from "node:fs";
import os from "node:os";
import path from "node:path";

export const natsServer = Bun.which("nats-server", { PATH: `${process.env.PATH}:/usr/sbin` });

/** A nats-server with JetStream and a token on a port of its own, in a directory of its own. */
export class TestNats implements AsyncDisposable {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-nats-"));
  readonly tokenFile = path.join(this.dir, "token");
  /** Holds the same token, for those who trust only the process that `FILE.pid` names. */
  readonly guardedTokenFile = path.join(this.dir, "guarded");
  readonly port = freePort();
  readonly url = `nats://127.0.0.1:${this.port}`;
  #server: Bun.Subprocess | undefined;

  constructor() {
    for (const file of [this.tokenFile, this.guardedTokenFile])
      fs.writeFileSync(file, "secret\n", { mode: 0o600 });
  }

  get isRunning(): boolean {
    return this.#server !== undefined;
  }

  /** @param under a program that starts the server, with its arguments */
  async start(under: string[] = []): Promise<void> {
    const config = path.join(this.dir, "conf");
    const lines = [
      `listen: "127.0.0.1:${this.port}"`,
      `pid_file: "${this.guardedTokenFile}.pid"`,
      'authorization { token: "secret" }',
      `jetstream { store_dir: "${this.dir}/js" }`,
    ];
    fs.writeFileSync(config, `${lines.join("\n")}\n`);
    this.#server = Bun.spawn([...under, natsServer ?? "", "-c", config], {
      stdout: "ignore",
      stderr: "ignore",
    });
    await until(() => answers(this.port), "nats-server");
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    this.#server?.kill(signal);
    await this.#server?.exited;
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 10_000; !(await condition()); await Bun.sleep(5)) {
    if (Date.now() > end) throw new Error(`timed out: ${what}`);
  }
}

function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  probe.stop(true);
  return probe.port;
}

async function answers(port: number): Promise<boolean> {
  try {
    const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
    socket.terminate();
    return true;
  } catch {
    return false;
  }
}
