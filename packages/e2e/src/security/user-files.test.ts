import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually, tempDir } from "@longshore/testkit";
import { api } from "../engine-api.ts";
import { useWorld } from "../world.ts";
import { type HostCanary, hostCanary } from "./host-canary.ts";

// A container puts traps in the place of its /etc/passwd, /etc/group and /etc/hosts, which the daemon reads.

const isReference = Boolean(process.env.LONGSHORE_E2E_REFERENCE);
const world = useWorld({ pull: ["attacker"] });
const docker = (...args: string[]) => world().docker()(...args);
const attempt = (...args: string[]) => world().docker().run(args);
const etc = tempDir();
let canary: HostCanary;

beforeAll(() => {
  canary = hostCanary();
  fs.writeFileSync(path.join(etc.path, "passwd"), "hostuser:x:0:0::/:/bin/sh\n");
});
afterAll(() => {
  canary[Symbol.dispose]();
  etc[Symbol.dispose]();
});

/** Start a container that runs a script, which prints `ready`, and then sleeps. */
async function trapped(script: string): Promise<string> {
  const command = `${script}; echo ready; exec sleep 1000`;
  const id = await docker("run", "-d", "--cap-add", "LEASE", world().attacker, "sh", "-c", command);
  await eventually(async () => (await docker("logs", id)).includes("ready"));
  return id;
}

/** The highest memory use of the daemon during some work, beyond what it used before, in MB. */
async function growth(work: () => Promise<unknown>): Promise<number> {
  const proc = `/proc/${world().engine.suite.pid("dockerd")}`;
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(fs.readFileSync(`${proc}/status`, "utf8"))?.[1]);
  fs.writeFileSync(`${proc}/clear_refs`, "5"); // the peak begins anew
  const before = kilobytes("VmRSS");
  await work();
  return (kilobytes("VmHWM") - before) / 1024;
}

/** Ask the daemon for a sign of life while some work goes on. @returns the longest time that it took, in ms */
async function longestPing(work: Promise<unknown>): Promise<number> {
  let longest = 0;
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  for (let n = 0; n < 3 || (!isDone && longest < 1000 && n < 500); n++) {
    const began = performance.now();
    const { status } = await Promise.race([
      api(world(), "GET", "/_ping"),
      Bun.sleep(3000).then(() => ({ status: 0 })),
    ]);
    longest = Math.max(longest, performance.now() - began);
    if (status !== 200) return 3000;
    await Bun.sleep(5);
  }
  if (!isReference && longest < 1000) await done;
  return longest;
}

/** Run a program in a container in the background, as a user of its files, whether that works or not. */
async function execAs(id: string, user: string): Promise<void> {
  const made = await api(
    world(),
    "POST",
    `/containers/${id}/exec`,
    JSON.stringify({ User: user, Cmd: ["true"] }),
  );
  const exec = (JSON.parse(made.body) as { Id?: string }).Id ?? "";
  await api(world(), "POST", `/exec/${exec}/start`, JSON.stringify({ Detach: true }));
}

/** The moment in which a name must be exchanged is short, so the attack is repeated. */
const EXECS = 30;

const TRAPS: Record<string, string> = {
  FIFO: "mkfifo /trap",
  "link to /dev/zero": "ln -s /dev/zero /trap",
  "file of 400 MB": "truncate -s 400M /trap",
};
/** Exchanges the two as fast as possible. */
const EXCHANGE = 'while (1) { syscall(316, -100, "/etc/passwd", -100, "/trap", 2) }';

// With Docker itself an exec waits for ever at a FIFO, and takes all memory for the others.
test.each(Object.keys(TRAPS).filter((name) => !isReference || name === "FIFO"))(
  "a %s that is exchanged with /etc/passwd neither blocks the daemon nor takes its memory",
  async (name) => {
    const passwd = "cp /etc/passwd /own; mv /own /etc/passwd";
    const id = await trapped(`${passwd}; ${TRAPS[name]}; (perl -e '${EXCHANGE}' &)`);
    let ping = 0;
    const grown = await growth(async () => {
      for (let n = 0; n < EXECS && ping < 1000; n += 10) {
        const execs = Array.from({ length: 10 }, () => execAs(id, "user"));
        ping = Math.max(ping, await longestPing(Promise.all(execs)));
      }
    });
    expect(ping).toBeLessThan(1000);
    expect(grown).toBeLessThan(40);
    if (!isReference) await docker("rm", "-f", id);
  },
  30_000,
);

test("an /etc that is exchanged with a link to the host gives no user of the host", async () => {
  const loop = `my ($a, $b) = ("/etc", "/trap"); symlink($ARGV[0], $b);
    print "ready\\n"; close(STDOUT); while (1) { syscall(316, -100, $a, -100, $b, 2) }`;
  const id = await docker("run", "-d", world().attacker, "perl", "-e", loop, etc.path);
  await eventually(async () => (await docker("logs", id)).includes("ready"));
  for (let n = 0; n < 25; n++) {
    const { status, stderr } = await attempt("exec", "-u", "hostuser", id, "true");
    expect(status).not.toBe(0);
    if (!isReference) expect(stderr).toContain("unable to find user hostuser");
  }
  await docker("rm", "-f", id);
});

// Docker reads all of the large one, and waits for the end of the lease.
test.skipIf(isReference)(
  "an /etc/hosts of 400 MB, or one with a lease, neither blocks the daemon nor takes its memory",
  async () => {
    const network = await docker("network", "create", "more-hosts");
    const large = await trapped("truncate -s 400M /etc/hosts");
    // 1024: F_SETLEASE, 1: F_WRLCK.
    const lease = `$SIG{IO} = "IGNORE"; open(my $f, "+<", "/etc/hosts") or die; fcntl($f, 1024, 1) or die "$!";
    $| = 1; print "ready\\n"; sleep 1000`;
    const leased = await docker("run", "-d", "--cap-add", "LEASE", world().attacker, "perl", "-e", lease);
    await eventually(async () => (await docker("logs", leased)).includes("ready"));
    for (const id of [large, leased]) {
      let ping = 0;
      const grown = await growth(async () => {
        ping = await longestPing(attempt("network", "connect", network, id));
        ping = Math.max(ping, await longestPing(attempt("network", "disconnect", network, id)));
      });
      expect(ping).toBeLessThan(1000);
      expect(grown).toBeLessThan(40);
    }
    const size = Number(await docker("exec", large, "stat", "-c", "%s", "/etc/hosts"));
    expect(size).toBeGreaterThan(400 << 20);
    await docker("rm", "-f", large, leased);
    await docker("network", "rm", network);
  },
);

test("nothing of the host has changed", () => {
  expect(canary.changes()).toEqual([]);
});
