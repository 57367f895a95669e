/** linux.seccomp with an agent: SCMP_ACT_NOTIFY, listenerPath, listenerMetadata; and the filter of profiles older than a call. */
import { afterAll, afterEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import {
  accept,
  addressOf,
  bindUnix,
  close,
  fixedBuffer,
  ioctl,
  listen,
  poll,
  receiveFds,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  socket,
} from "@longshore/syscalls";
import { it, type Patch, Playground, runc } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());
afterEach(() => expect(playground.leftovers()).toEqual([]));

const EEXIST = 17;
// seccomp_unotify(2): struct seccomp_notif has 80 bytes, struct seccomp_notif_resp 24.
const SECCOMP_IOCTL_NOTIF_RECV = 0xc0502100;
const SECCOMP_IOCTL_NOTIF_SEND = 0xc0182101;

interface Introduction {
  ociVersion: string;
  fds: string[];
  pid: number;
  metadata?: string;
  state: { id: string; status: string; pid: number; bundle: string };
}

/** Answers each call that a filter asks about with an error. */
class Agent implements Disposable {
  readonly path = path.join(playground.dir, `agent${playground.id("a")}`);
  readonly introductions: Introduction[] = [];
  readonly numbers: number[] = [];
  readonly #socket = socket(1, SOCK_STREAM | SOCK_NONBLOCK);
  readonly #listeners: number[] = [];
  readonly #timer: Timer;

  constructor() {
    bindUnix(this.#socket, this.path);
    listen(this.#socket);
    this.#timer = setInterval(() => this.#serve(), 1);
  }

  #serve(): void {
    const connection = accept(this.#socket);
    if (connection !== undefined) {
      const { data, fds } = receiveFds(connection) ?? { data: Buffer.alloc(0), fds: [] };
      this.introductions.push(JSON.parse(data.toString()));
      this.#listeners.push(...fds);
      close(connection);
    }
    for (const fd of this.#listeners) if (poll([{ fd, events: 1 }], 0)[0]?.readable) this.#answer(fd);
  }

  #answer(fd: number): void {
    const notice = fixedBuffer(80);
    ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, addressOf(notice));
    this.numbers.push(notice.readInt32LE(16));
    const answer = fixedBuffer(24);
    notice.copy(answer, 0, 0, 8);
    answer.writeInt32LE(-EEXIST, 16);
    ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, addressOf(answer));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const fd of [this.#socket, ...this.#listeners]) close(fd);
    fs.rmSync(this.path, { force: true });
  }
}

const profile = (agent: Agent, more: Patch = {}): Patch => ({
  defaultAction: "SCMP_ACT_ALLOW",
  listenerPath: agent.path,
  syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_NOTIFY" }],
  ...more,
});

const SCRIPT = "mkdir /tmp/made 2>&1; echo $?";
const REFUSED = "mkdir: can't create directory '/tmp/made': File exists\n1\n";

/** runc, while the agent goes on. */
async function command(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = Bun.spawn([runc, "--root", playground.root, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 20_000,
  });
  const [code, stdout, stderr] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()]);
  return { code, stdout, stderr };
}

for (const noNewPrivileges of [true, false]) {
  it(`an agent answers for calls of a container and of an exec, noNewPrivileges ${noNewPrivileges}`, async () => {
    using agent = new Agent();
    const id = playground.id("n");
    const seccomp = profile(agent, {
      listenerMetadata: "some words",
      flags: ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    });
    playground.write(
      playground.config({
        process: { noNewPrivileges, args: ["sh", "-c", SCRIPT], user: { uid: 1000, gid: 1000 } },
        linux: { cgroupsPath: playground.groupOf(id), seccomp },
      }),
    );
    const first = await command("run", "--bundle", playground.bundle, id);
    expect(first).toEqual({ code: 0, stdout: REFUSED, stderr: "" });
    const [introduction] = agent.introductions;
    expect(introduction).toMatchObject({ fds: ["seccompFd"], metadata: "some words" });
    expect(introduction?.state).toMatchObject({ id, status: "creating", bundle: playground.bundle });
    expect(introduction?.pid).toBe(introduction?.state.pid ?? 0);

    playground.write(
      playground.config({
        process: { noNewPrivileges, args: ["sleep", "1000"] },
        linux: { cgroupsPath: playground.groupOf(id), seccomp },
      }),
    );
    const creation = Bun.spawn(
      [runc, "--root", playground.root, "create", "--bundle", playground.bundle, id],
      {
        stdio: ["ignore", "ignore", "ignore"],
      },
    );
    expect(await creation.exited).toBe(0);
    playground.must("start", id);
    const exec = await command("exec", "--user", "1000", id, "sh", "-c", SCRIPT);
    expect(exec).toEqual({ code: 0, stdout: REFUSED, stderr: "" });
    expect(agent.introductions.at(-1)?.state).toMatchObject({ id, status: "running" });
    playground.must("delete", "--force", id);
    expect(agent.numbers.length).toBe(2);
  });
}

it("refuses an agent that isn't there, and profiles that would stop the start itself", () => {
  using agent = new Agent();
  const start = (seccomp: Patch) => playground.script("true", { linux: { seccomp } });
  const nobody = start(profile(agent, { listenerPath: "/no/agent" }));
  expect(nobody.code).toBe(1);
  expect(nobody.stderr).toContain("failed to connect with seccomp agent");
  expect(playground.leftovers()).toEqual([]);
  const write = { syscalls: [{ names: ["write"], action: "SCMP_ACT_NOTIFY" }] };
  expect(start(profile(agent, write)).stderr).toContain(
    "SCMP_ACT_NOTIFY cannot be used for the write syscall",
  );
  expect(start(profile(agent, { defaultAction: "SCMP_ACT_NOTIFY" })).stderr).toContain("as default action");
  expect(start(profile(agent, { listenerPath: undefined })).stderr).toContain("listenerPath is not set");
});

it("calls newer than the profile fail with ENOSYS, those that it knows with its own error", () => {
  const names =
    "read write open openat close stat fstat newfstatat mmap mprotect munmap brk execve exit exit_group arch_prctl set_tid_address set_robust_list readlink getuid getgid geteuid getegid getpid getppid fcntl prctl futex lseek rt_sigaction rt_sigprocmask rt_sigreturn ioctl capset dup2 clone fork vfork wait4 uname sysinfo poll";
  const filtered: Patch = {
    linux: {
      seccomp: {
        defaultAction: "SCMP_ACT_ERRNO",
        architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        syscalls: [{ names: names.split(" "), action: "SCMP_ACT_ALLOW" }],
      },
    },
  };
  const run = (...args: string[]) =>
    playground.run({ process: { args: ["/bin/busybox", ...args] }, ...filtered });
  // Of the calls that are named set_robust_list is the newest (273): mkdir (83) is older, setns (308) newer.
  expect(run("mkdir", "/tmp/older").stderr).toContain("Operation not permitted");
  expect(run("nsenter", "--uts=/proc/self/ns/uts", "true").stderr).toContain("Function not implemented");
});
