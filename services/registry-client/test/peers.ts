import fs from "node:fs";
import os from "node:os";
import path from "node:path";

/** What a test started or made, undone in reverse order. */
export class Stage implements AsyncDisposable {
  readonly dir: string;
  readonly #undo = new AsyncDisposableStack();

  constructor() {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-registry-"));
    this.#undo.defer(() => fs.rmSync(this.dir, { recursive: true, force: true }));
  }

  defer(undo: () => void | Promise<void>): void {
    this.#undo.defer(undo);
  }

  /** Start a process that is stopped, by SIGTERM and then SIGKILL, with the stage. */
  spawn(command: string[], options: { env?: Record<string, string>; log: string }): Bun.Subprocess {
    const log = fs.openSync(path.join(this.dir, options.log), "w");
    const child = Bun.spawn(command, {
      stdio: ["ignore", log, log],
      env: { PATH: process.env.PATH ?? "", HOME: this.dir, ...options.env },
    });
    fs.closeSync(log);
    this.#undo.defer(async () => {
      child.kill("SIGTERM");
      const hard = setTimeout(() => child.kill("SIGKILL"), 3000);
      await child.exited;
      clearTimeout(hard);
    });
    return child;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#undo.disposeAsync();
  }
}

export function installed(...names: string[]): boolean {
  return names.every((name) => Bun.which(name) !== null);
}

export async function run(
  command: string[],
  input?: string,
  env: Record<string, string> = {},
): Promise<string> {
  const child = Bun.spawn(command, {
    env: { ...process.env, ...env },
    stdin: input === undefined ? "ignore" : Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`${command.join(" ")}: exit ${code}: ${err}`);
  return out;
}

/** Poll a condition until it holds. */
export async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    if (await condition()) return;
    if (Date.now() > deadline) throw new Error(`timed out waiting for ${what}`);
    await Bun.sleep(20);
  }
}

/** A TCP port on loopback that was free a moment ago. */
export function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => undefined } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

export interface RegistrySettings {
  htpasswd?: { user: string; password: string };
  /** YAML of its own for `auth`. */
  auth?: string;
  tls?: { key: string; cert: string; clientCa?: string };
}

/** Debian's docker-registry on loopback; gives its `host:port`. */
export async function startRegistry(
  stage: Stage,
  { htpasswd, auth = "", tls }: RegistrySettings = {},
): Promise<string> {
  const port = freePort();
  const root = path.join(stage.dir, `registry-${port}`);
  fs.mkdirSync(root);
  const basic = htpasswd ? `auth:\n  htpasswd:\n    realm: test\n    path: ${root}/htpasswd\n` : auth;
  if (htpasswd) {
    const hash = await Bun.password.hash(htpasswd.password, { algorithm: "bcrypt", cost: 4 });
    fs.writeFileSync(path.join(root, "htpasswd"), `${htpasswd.user}:${hash}\n`);
  }
  const clients = tls?.clientCa ? `    clientcas:\n      - ${tls.clientCa}\n` : "";
  const secure = tls ? `  tls:\n    certificate: ${tls.cert}\n    key: ${tls.key}\n${clients}` : "";
  const config = path.join(root, "config.yml");
  fs.writeFileSync(
    config,
    `version: 0.1\nlog:\n  level: error\nstorage:\n  delete:\n    enabled: true\n  filesystem:\n    rootdirectory: ${root}/data\nhttp:\n  addr: 127.0.0.1:${port}\n${secure}${basic}`,
  );
  stage.spawn(["docker-registry", "serve", config], { log: `registry-${port}.log` });
  await until("docker-registry", () => listens(port));
  return `127.0.0.1:${port}`;
}

function listens(port: number): Promise<boolean> {
  return Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => undefined } }).then(
    (socket) => {
      socket.end();
      return true;
    },
    () => false,
  );
}

/** A running containerd. */
export interface Containerd {
  readonly address: string;
  readonly process: Bun.Subprocess;
}

/** Debian's containerd with its state in the stage; once more after its end, with what it had. */
export function startContainerd(stage: Stage): Promise<Containerd> {
  const root = path.join(stage.dir, "containerd");
  fs.mkdirSync(root, { recursive: true });
  const address = path.join(root, "c.sock");
  const config = path.join(root, "config.toml");
  fs.writeFileSync(
    config,
    `version = 2\nroot = "${root}/root"\nstate = "${root}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "${address}"\n[ttrpc]\naddress = "${address}.ttrpc"\n`,
  );
  return serving(stage, address, ["containerd", "--config", config, "--log-level", "warn"]);
}

/** Ours, in the same way. */
export function startOurContainerd(stage: Stage, binDir: string): Promise<Containerd> {
  const root = path.join(stage.dir, "our-containerd");
  fs.mkdirSync(root, { recursive: true });
  const address = path.join(root, "c.sock");
  const places = [
    "--address",
    address,
    "--root",
    path.join(root, "root"),
    "--state",
    path.join(root, "state"),
  ];
  return serving(stage, address, [path.join(binDir, "containerd"), ...places]);
}

async function serving(stage: Stage, address: string, command: string[]): Promise<Containerd> {
  const child = stage.spawn(command, { log: "containerd.log" });
  const answers = async () => {
    const ctr = Bun.spawn(["ctr", "--address", address, "version"], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    return (await ctr.exited) === 0;
  };
  await until("containerd", () => fs.existsSync(address) && answers());
  return { address, process: child };
}
