import fs from "node:fs";
import { mount, NR, scratch, syscall, unshare } from "@longshore/syscalls";
import { finishConfinement, restartConfined } from "../src/services/confine-unpacker.ts";

/** Run by unpack-worker.test.ts: confines itself as an unpacking worker does, tries what a captured one would, and prints what came of it. */
const [stage, victim = "0"] = process.argv.slice(2);
if (stage !== "confined") {
  restartConfined(["bun", process.argv[1] ?? "", "confined", stage ?? "0"]);
}
// Paths that lead to the host when the root directory does, and descriptors that a worker has no need of.
finishConfinement();

const call =
  (nr: number, ...parameters: number[]) =>
  () =>
    syscall(nr, ...parameters);
const text = (value: string) => scratch().string(value);
const attacks: Record<string, () => unknown> = {
  socket: call(NR.socket, 2, 1, 0),
  "unix socket": call(NR.socket, 1, 1, 0),
  io_uring: call(425, 1, 0),
  "kill a process": call(NR.kill, Number(victim), 9),
  "signal a thread of another": call(234, Number(victim), Number(victim), 9),
  "limits of another": call(NR.prlimit64, Number(victim), 7, 0, 0),
  pidfd: call(NR.pidfd_open, Number(victim), 0),
  ptrace: call(101, 16, Number(victim), 0, 0),
  "read another's memory": call(310, Number(victim), 0, 0, 0, 0, 0),
  bpf: call(NR.bpf, 0, 0, 0),
  keyctl: call(NR.keyctl, 0, -3),
  execve: () => syscall(NR.execve, text("/bin/sh"), 0, 0),
  fork: call(NR.fork),
  "clone into namespaces": call(NR.clone, 0x20000000 | 17, 0, 0, 0, 0),
  "clone a process": call(NR.clone, 17, 0, 0, 0, 0),
  unshare: () => unshare(0x10000000),
  setns: call(NR.setns, 0, 0),
  mount: () => mount({ source: "proc", target: "/", type: "proc" }),
  fsopen: () => syscall(NR.fsopen, text("proc"), 0),
  open_tree: () => syscall(NR.open_tree, -100, text("/"), 1),
  pivot_root: () => syscall(NR.pivot_root, text("/"), text("/")),
  chroot: () => syscall(NR.chroot, text("/")),
  "open by handle": call(304, -100, 0, 0),
  "device ioctl": call(NR.ioctl, 0, 0x5412, 0),
  capabilities: call(NR.capset, 0, 0),
  "host file": () => fs.readFileSync("/etc/passwd"),
  "file of a process": () => fs.readFileSync(`/proc/${victim}/status`),
  "file by a parent": () => fs.readFileSync("/proc/self/fd/../../../etc/passwd"),
  "write in the root": () => fs.writeFileSync("/new", ""),
};
const outcomes: Record<string, unknown> = {};
for (const [name, attack] of Object.entries(attacks)) {
  try {
    const result = attack();
    outcomes[name] = typeof result === "number" && result < 0 ? `errno ${-result}` : "succeeded";
  } catch (error) {
    outcomes[name] = error instanceof Error && "code" in error ? error.code : String(error);
  }
}
const root = fs.readdirSync("/");
fs.writeSync(1, JSON.stringify({ outcomes, root }));
