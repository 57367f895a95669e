/** Attacks by what a container's paths are made of: masks, and what an exec opens and inherits. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import { useWorld } from "../world.ts";
import { hostCanary } from "./host-canary.ts";

const isReference = Boolean(process.env.LONGSHORE_E2E_REFERENCE);
const defaults = ["--no-new-privileges", "--default-ulimit", "nofile=77:88"];
const world = useWorld({
  pull: ["attacker"],
  ...(!isReference && { components: { dockerd: { extraArgs: defaults } } }),
});
const docker = (...args: string[]) => world().docker()(...args);

/** Against the default of this file's daemon. */
const ALLOWED = ["--security-opt", "no-new-privileges=false"];

const hostNull = fs.statSync("/dev/null");
beforeAll(() => expect(hostNull.mode & 0o7777).toBe(0o666));
// An attack that succeeds must not harm the machine of the test.
afterAll(() => {
  fs.chmodSync("/dev/null", hostNull.mode & 0o7777);
  fs.chownSync("/dev/null", hostNull.uid, hostNull.gid);
});

test("CVE-2025-31133: what is done to a mask is not done to the host's null device", async () => {
  using canary = hostCanary();
  const script = "chmod 667 /proc/keys; chown 7:7 /proc/keys; stat -c %t:%T /proc/keys; wc -c </proc/keys";
  expect(await docker("run", "--rm", ...ALLOWED, world().attacker, "sh", "-c", script)).toBe("1:3\n0");
  expect(canary.changes()).toEqual([]);
});

// Docker 20.10 opens the FIFO and waits for ever.
test.skipIf(isReference)("an exec opens no FIFO in the place of /etc/passwd or /dev/ptmx", async () => {
  const id = await docker("run", "-d", ...ALLOWED, world().attacker, "sleep", "1000");
  try {
    // A writer is blocked until somebody opens the other end.
    const script = `cp /etc/passwd /tmp/passwd; rm /etc/passwd /dev/ptmx; mkfifo /etc/passwd /dev/ptmx
      trap "" PIPE
      (echo >/etc/passwd; touch /tmp/passwd-opened) >/dev/null 2>&1 &
      (echo >/dev/ptmx; touch /tmp/ptmx-opened) >/dev/null 2>&1 &
      touch /tmp/made`;
    await docker("exec", id, "sh", "-c", script);
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(await docker("exec", "-u", "0:0", id, "sh", "-c", "echo $HOME")).toBe("/");
      await expect(docker("exec", "-t", "-u", "0:0", id, "true")).rejects.toThrow();
    }
    expect(await docker("exec", "-u", "0:0", id, "ls", "/tmp")).toBe("made\npasswd");
  } finally {
    await docker("rm", "-f", id);
  }
});

test.each([
  ["its container", ["--ulimit", "nofile=66:99", "--security-opt", "no-new-privileges"], "66\n99"],
  ...(isReference ? [] : [["the daemon", [] as string[], "77\n88"] as const]),
] as const)("an exec has the limits of %s, and no new privileges", async (_, options, limits) => {
  const id = await docker("run", "-d", ...options, world().attacker, "sleep", "1000");
  try {
    const script = "ulimit -n; ulimit -Hn; grep NoNewPrivs /proc/self/status";
    expect(await docker("exec", id, "sh", "-c", script)).toBe(`${limits}\nNoNewPrivs:\t1`);
  } finally {
    await docker("rm", "-f", id);
  }
});

test("CVE-2026-46680: digits as a user are an id, whatever the image's files call so", async () => {
  const id = await docker("create", world().attacker, "sleep", "1000");
  try {
    await docker("start", id);
    const lines = "1000:x:0:0::/:/bin/sh\n99999999999:x:0:0::/:/bin/sh";
    await docker("exec", id, "sh", "-c", `echo '${lines}' >/etc/passwd; echo '7:x:0:' >/etc/group`);
    expect(await docker("exec", "-u", "1000:7", id, "sh", "-c", "id -u; id -g")).toBe("1000\n7");
    await expect(docker("exec", "-u", "99999999999", id, "id", "-u")).rejects.toThrow();
  } finally {
    await docker("rm", "-f", id);
  }
});

// The filter of Docker 20.10 has no rule for families.
test.skipIf(isReference)(
  "the default filter refuses AF_VSOCK and AF_ALG, with bits above the 32 of an address family, too",
  async () => {
    // 41: socket on x86-64.
    const program = `for my $family (1, 2, 38, 40) {
      for my $above (0, 1 << 32, 1 << 63) {
        my $fd = syscall(41, $family | $above, $family == 38 ? 5 : 1, 0);
        print $fd >= 0 ? "made" : $! == 1 ? "refused" : "error ", " ";
      }
      print "\\n";
    }`;
    const lines = await docker("run", "--rm", ...ALLOWED, world().attacker, "perl", "-e", program);
    const each = (word: string) => `${word} ${word} ${word}`;
    expect(lines.split("\n").map((line) => line.trim())).toEqual([
      each("made"),
      each("made"),
      each("refused"),
      each("refused"),
    ]);
  },
);
