/** `run` and `exec` whose caller stays: terminals, signals, streams, and the descriptors that a process gets. */
import { afterAll, afterEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import {
  accept,
  bindUnix,
  close,
  fcntl,
  listen,
  openPty,
  openPtyPeer,
  pidfdSendSignal,
  receiveFds,
  SOCK_STREAM,
  setWindowSize,
  socket,
} from "@longshore/syscalls";
import { it, type Patch, Playground, runc } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());
afterEach(() => expect(playground.leftovers()).toEqual([]));

const TIMEOUT_MS = 15_000;

/** A terminal whose other end is a program's. */
class Session implements Disposable {
  readonly master: number;
  readonly #peer: number;
  readonly #device: string;
  #output = "";
  #process: Bun.Subprocess | undefined;

  constructor(size = { rows: 33, columns: 99 }) {
    const { master, number } = openPty();
    this.master = master;
    this.#peer = openPtyPeer(master);
    this.#device = `/dev/pts/${number}`;
    setWindowSize(master, size);
    fcntl(master, 4, fcntl(master, 3) | 0o4000);
    void this.#read();
  }

  async #read(): Promise<void> {
    try {
      for await (const chunk of Bun.file(this.master).stream()) this.#output += Buffer.from(chunk).toString();
    } catch {
      // The terminal has gone.
    }
  }

  /** Start runc with it; `streams`: which of the three are the terminal, the others are /dev/null. */
  start(args: string[], streams: readonly number[] = [0, 1, 2]): Bun.Subprocess {
    const stream = (fd: number) => (streams.includes(fd) ? this.#peer : "ignore");
    this.#process = Bun.spawn([runc, "--root", playground.root, ...args], {
      stdio: [stream(0), stream(1), stream(2)],
    });
    return this.#process;
  }

  async until(text: string): Promise<void> {
    for (const end = Date.now() + TIMEOUT_MS; !this.#output.includes(text); ) {
      if (Date.now() > end) throw new Error(`no ${JSON.stringify(text)} in ${JSON.stringify(this.#output)}`);
      await Bun.sleep(5);
    }
  }

  type(text: string): void {
    fs.writeSync(this.master, text);
  }

  get output(): string {
    return this.#output;
  }

  /** The terminal's settings in words. */
  get settings(): string {
    return Bun.spawnSync(["stty", "-F", this.#device, "-a"]).stdout.toString();
  }

  [Symbol.dispose](): void {
    this.#process?.kill("SIGKILL");
    close(this.#peer);
    close(this.master);
  }
}

const shell = (script: string, more: Patch = {}): Patch => ({
  process: { args: ["sh", "-c", script], ...more },
});

/** Put a configuration into the bundle, for runs that are started by hand; the id of the container. */
function bundled(config: Patch): string {
  const id = playground.id("f");
  playground.write(playground.config({ linux: { cgroupsPath: playground.groupOf(id) } }, config));
  return id;
}

it("run with a terminal joins it with the caller's, which is raw meanwhile and as it was afterwards", async () => {
  using session = new Session();
  const before = session.settings;
  expect(before).toContain(" icanon");
  const id = bundled(shell("tty; stty size; read line; echo got $line; exit 5", { terminal: true }));
  const child = session.start(["run", "--bundle", playground.bundle, id]);
  await session.until("33 99");
  expect(session.settings).toContain("-icanon");
  session.type("hello\r");
  expect(await child.exited).toBe(5);
  await session.until("got hello");
  expect(session.output).toContain("/dev/pts/0\r\n33 99\r\nhello\r\ngot hello\r\n");
  expect(session.settings).toBe(before);
});

it("exec -t passes on changes of size, keys that signal, and what was written at the end", async () => {
  using container = playground.start();
  using session = new Session();
  const script =
    "stty size; trap 'stty size' WINCH; trap 'i=1' INT; echo READY; while [ -z \"$i\" ]; do sleep 0.05; done; seq 2000; exit 3";
  const child = session.start(["exec", "-t", container.id, "sh", "-c", script]);
  await session.until("READY");
  setWindowSize(session.master, { rows: 11, columns: 22 });
  child.kill("SIGWINCH");
  await session.until("11 22");
  session.type("\x03");
  expect(await child.exited).toBe(3);
  await session.until("\r\n2000\r\n");
  expect(session.settings).toContain(" icanon");
});

it("a terminal is put back when there is no process, and when the process ends by a signal", async () => {
  using container = playground.start();
  using session = new Session();
  const before = session.settings;
  expect(await session.start(["exec", "-t", container.id, "nosuch"]).exited).toBe(255);
  expect(session.settings).toBe(before);
  const child = session.start(["exec", "-t", container.id, "sh", "-c", "echo READY; exec sleep 1000"]);
  await session.until("READY");
  child.kill("SIGTERM");
  expect(await child.exited).toBe(143);
  expect(session.settings).toBe(before);
});

it("a terminal is found at any of the three streams; where there is none, that is said", async () => {
  using container = playground.start();
  using session = new Session();
  const child = session.start(["exec", "-t", container.id, "sh", "-c", "stty size > /tmp/size"], [2]);
  expect(await child.exited).toBe(0);
  expect(container.script("cat /tmp/size").stdout).toBe("33 99\n");
  const without = Bun.spawnSync(
    ["setsid", runc, "--root", playground.root, "exec", "-t", container.id, "true"],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  expect(without.exitCode).toBe(255);
  expect(without.stderr.toString()).toContain("/dev/tty");
});

it("without a terminal of its own a process doesn't get the caller's, but what is typed there", async () => {
  using container = playground.start();
  using session = new Session();
  const child = session.start([
    "exec",
    container.id,
    "sh",
    "-c",
    "tty; echo READY; read line; echo got $line",
  ]);
  await session.until("not a tty");
  await session.until("READY");
  session.type("hello\r");
  expect(await child.exited).toBe(0);
  await session.until("got hello");
});

it("run passes signals on, gives back the exit status, and removes the container unless --keep", async () => {
  for (const [keep, signal, status] of [
    [false, "SIGUSR1", 4],
    [true, "SIGTERM", 6],
  ] as const) {
    const id = bundled(
      shell("trap 'exit 4' USR1; trap 'exit 6' TERM; touch /tmp/ready; while :; do sleep 0.05; done"),
    );
    const ready = path.join(playground.rootfs, "tmp/ready");
    fs.rmSync(ready, { force: true });
    const flags = keep ? ["--keep"] : [];
    const child = Bun.spawn(
      [runc, "--root", playground.root, "run", ...flags, "--bundle", playground.bundle, id],
      {
        stdio: ["ignore", "ignore", "ignore"],
      },
    );
    for (const end = Date.now() + TIMEOUT_MS; !fs.existsSync(ready) && Date.now() < end; ) await Bun.sleep(5);
    child.kill(signal);
    expect(await child.exited).toBe(status);
    const state = playground.command(["state", id]);
    if (keep) expect(JSON.parse(state.stdout).status).toBe("stopped");
    else expect(state.stderr).toContain("container does not exist");
    playground.command(["delete", "--force", id]);
  }
});

it("refuses terminals that nobody would serve, in the original's words", () => {
  using container = playground.start();
  const detached = container.exec(["true"], ["-d", "-t"]);
  expect(detached.stderr).toContain("cannot allocate tty if runc will detach without setting console socket");
  const attached = container.exec(["true"], ["-t", "--console-socket", "/nowhere"]);
  expect(attached.stderr).toContain("cannot use console socket if runc will not detach or allocate tty");
  expect([detached.code, attached.code]).toEqual([255, 255]);
});

/** A socket at which a descriptor is waited for. */
class Listener implements Disposable {
  readonly path = path.join(playground.dir, `socket${playground.id("s")}`);
  readonly #fd = socket(1, SOCK_STREAM);

  constructor() {
    bindUnix(this.#fd, this.path);
    listen(this.#fd);
  }

  receive(): { data: string; fd: number } {
    const connection = accept(this.#fd) ?? -1;
    const message = receiveFds(connection);
    close(connection);
    return { data: message?.data.toString() ?? "", fd: message?.fds[0] ?? -1 };
  }

  [Symbol.dispose](): void {
    close(this.#fd);
    fs.rmSync(this.path, { force: true });
  }
}

it("--pidfd-socket gets a descriptor of the process, of init and of exec", () => {
  using listener = new Listener();
  using container = playground.create({}, { flags: ["--pidfd-socket", listener.path] });
  const init = listener.receive();
  expect(init.data).toBe("standard");
  expect(fs.readFileSync(`/proc/self/fdinfo/${init.fd}`, "utf8")).toContain(`Pid:\t${container.pid}\n`);
  playground.must("start", container.id);
  const pidFile = path.join(playground.dir, "pid");
  const flags = ["-d", "--pid-file", pidFile, "--pidfd-socket", listener.path];
  expect(container.exec(["sleep", "1000"], flags).code).toBe(0);
  const exec = listener.receive();
  expect(exec.data).toBe("setns");
  const pid = fs.readFileSync(pidFile, "utf8");
  expect(fs.readFileSync(`/proc/self/fdinfo/${exec.fd}`, "utf8")).toContain(`Pid:\t${pid}\n`);
  pidfdSendSignal(exec.fd, 9);
  for (const fd of [init.fd, exec.fd]) close(fd);
});

it("sockets of activation are passed on with LISTEN_FDS, but only those that are meant for runc", () => {
  // The shell is replaced by runc, so that its pid is the one that it knows.
  const start = (pid: string, script: string) => {
    const id = bundled(shell(script));
    const words = `LISTEN_PID=${pid} LISTEN_FDS=1 exec "$0" "$@" 3</etc/hostname`;
    return Bun.spawnSync(
      ["sh", "-c", words, runc, "--root", playground.root, "run", "--bundle", playground.bundle, id],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
  };
  const script = "echo $LISTEN_FDS $LISTEN_PID; [ -e /proc/self/fd/3 ] && cat <&3";
  expect(start("$$", script).stdout.toString()).toBe(`1 1\n${fs.readFileSync("/etc/hostname", "utf8")}`);
  expect(start("1", "echo none $LISTEN_FDS").stdout.toString()).toBe("none\n");
});
