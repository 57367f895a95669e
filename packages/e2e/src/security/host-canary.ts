import { type ChildProcess, spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";

/** Files of the host that no container may change in mode, owner, size or content. */
const WATCHED = [
  "/dev/null",
  "/dev/zero",
  "/dev/random",
  "/dev/ptmx",
  "/etc/passwd",
  "/etc/group",
  "/etc/hosts",
];

/**
 * What a hostile container must not reach on the host: a directory of files, a process, device nodes, `/etc`. Take one before
 * an attack and expect {@link changes} to be empty after it.
 */
export interface HostCanary extends Disposable {
  /** A directory on the host, mode 0700, with `secret` (mode 0600) and `program` (mode 0755). */
  readonly dir: string;
  /** The content of `secret`: it must not appear anywhere in a container. */
  readonly secret: string;
  /** A process of the host that must stay alive. */
  readonly pid: number;
  /** What has changed since it was taken, each as a line. */
  changes(): string[];
}

/** Mode, owner, size and content of a file, as text that can be compared. */
function describe(file: string): string {
  const { mode, uid, gid, rdev, size } = fs.lstatSync(file);
  const isRegular = (mode & 0o170000) === 0o100000;
  const digest = isRegular ? crypto.createHash("sha256").update(fs.readFileSync(file)).digest("hex") : "";
  return `mode ${mode.toString(8)} owner ${uid}:${gid} device ${rdev} size ${size} ${digest}`;
}

function describeAll(files: readonly string[]): Map<string, string> {
  return new Map(files.map((file) => [file, fs.existsSync(file) ? describe(file) : "missing"]));
}

/** Take a canary of the host. */
export function hostCanary(): HostCanary {
  const temp = tempDir();
  const dir = path.join(temp.path, "canary");
  fs.mkdirSync(dir, { mode: 0o700 });
  const secret = crypto.randomBytes(16).toString("hex");
  fs.writeFileSync(path.join(dir, "secret"), secret, { mode: 0o600 });
  fs.writeFileSync(path.join(dir, "program"), "#!/bin/false\n", { mode: 0o755 });
  fs.chmodSync(path.join(dir, "program"), 0o755);
  const child: ChildProcess = spawn("sleep", ["1000000"], { stdio: "ignore" });
  const { pid } = child;
  if (pid === undefined) throw new Error("sleep(1) did not start");
  const files = () => [...WATCHED, dir, ...fs.readdirSync(dir).map((name) => path.join(dir, name))];
  const before = describeAll(files());
  return {
    dir,
    secret,
    pid,
    changes() {
      const after = describeAll([...new Set([...before.keys(), ...files()])]);
      const lines = [...after].flatMap(([file, now]) => {
        const then = before.get(file) ?? "missing";
        return then === now ? [] : [`${file}: ${then} -> ${now}`];
      });
      if (child.exitCode !== null || child.signalCode !== null) lines.push(`process ${pid} has ended`);
      return lines;
    },
    [Symbol.dispose]() {
      child.kill("SIGKILL");
      temp[Symbol.dispose]();
    },
  };
}
