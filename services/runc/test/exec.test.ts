/** `exec`: what its flags do to the process, where it runs, and what is said when it can't. */
import { afterAll, afterEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { it, itWithUsers, Playground, runc, unified } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());
afterEach(() => expect(playground.leftovers()).toEqual([]));

const inRoot = (...names: string[]) => path.join(playground.rootfs, ...names);

function file(name: string, text: string, mode: number): string {
  fs.writeFileSync(inRoot("bin", name), text);
  fs.chmodSync(inRoot("bin", name), mode);
  return `/bin/${name}`;
}

it("says why a program can't be executed: what can be known before as an error, the rest in the program's place", () => {
  const programs = {
    "no interpreter": file("interpreted", "#!/no/such\n", 0o755),
    garbage: file("garbage", "garbage\n\0", 0o755),
    root: file("root-only", "#!/bin/sh\n", 0o700),
    plain: file("plain", "", 0o644),
  };
  using container = playground.start();
  const user = ["--user", "1000"];
  const words = (args: string[], flags: string[] = []) => {
    const { code, stderr } = container.exec(args, flags);
    return { code, words: stderr.replace(/.* msg="|"\n$|\n$/g, "").replaceAll("\\", "") };
  };
  const refused = (why: string) => ({
    code: 255,
    words: `exec failed: unable to start container process: exec: ${why}`,
  });
  expect(words([programs["no interpreter"]])).toEqual({
    code: 255,
    words: "exec /bin/interpreted: no such file or directory",
  });
  expect(words([programs.garbage])).toEqual({ code: 255, words: "exec /bin/garbage: exec format error" });
  expect(words([programs.root], user)).toEqual(refused('"/bin/root-only": permission denied'));
  expect(words([programs.plain])).toEqual(refused('"/bin/plain": permission denied'));
  expect(words(["/bin"])).toEqual(refused('"/bin": is a directory'));
  expect(words(["/no/such"])).toEqual(refused('"/no/such": stat /no/such: no such file or directory'));
  expect(words(["nosuch"])).toEqual(refused('"nosuch": executable file not found in $PATH'));
  // The same in a container's first process, which runc has no longer in its hands when it starts.
  const first = playground.run({ process: { args: [programs["no interpreter"]] } });
  expect(first).toMatchObject({ code: 255, stderr: "exec /bin/interpreted: no such file or directory\n" });
});

it("takes user, groups, directory, environment and rights from its flags", () => {
  using container = playground.start({
    process: { noNewPrivileges: false, env: ["PATH=/bin", "A=1", "B=1"] },
  });
  const { stdout } = container.script(
    "id -u; id -g; id -G; pwd; echo $A $B $C $HOME; sed -n 's/^\\(CapBnd\\|NoNewPrivs\\):\\t//p' /proc/self/status",
    // biome-ignore format: one flag a line
    [
      "--user", "1000:50",
      "--additional-gids", "7", "-g", "8",
      "--cwd", "/tmp",
      "--env", "B=2", "-e", "C=3", "-e", "B=4",
      "--cap", "CAP_SYS_TIME",
      "--no-new-privs",
    ],
  );
  expect(stdout).toBe("1000\n50\n50 7 8\n/tmp\n1 4 3 /home/user\n0000000022000420\n1\n".replace(/^/, ""));
});

it("--process takes the whole process from a file, with the refusals of a configuration", () => {
  using container = playground.start();
  const at = path.join(playground.dir, "process.json");
  const start = (process: object) => {
    fs.writeFileSync(at, JSON.stringify(process));
    return playground.command(["exec", "--process", at, container.id]);
  };
  const base = {
    args: ["sh", "-c", "echo $A; id -u; pwd"],
    env: ["PATH=/bin", "A=b"],
    cwd: "/tmp",
    user: { uid: 3 },
  };
  expect(start(base)).toMatchObject({ code: 0, stdout: "b\n3\n/tmp\n" });
  expect(start({ ...base, cwd: "tmp" }).stderr).toContain("Cwd must be an absolute path");
  expect(start({ ...base, args: [] }).stderr).toContain("args must not be empty");
  expect(
    start({
      ...base,
      scheduler: { policy: "SCHED_BATCH", nice: 4 },
      args: ["cut", "-d ", "-f19,41", "/proc/self/stat"],
    }).stdout,
  ).toBe("4 3\n");
  expect(
    start({
      ...base,
      execCPUAffinity: { initial: "0", final: "0" },
      args: ["grep", "Cpus_allowed_list", "/proc/self/status"],
    }).stdout,
  ).toBe("Cpus_allowed_list:\t0\n");
  expect(start({ ...base, execCPUAffinity: { final: "0-x" } }).stderr).toContain("invalid list");
  expect(playground.command(["exec", "--process", "/no/such", container.id]).stderr).toContain(
    "open /no/such",
  );
});

it("is refused where nothing can run, or nothing is asked", async () => {
  using created = playground.create();
  expect(created.exec(["echo", "created"]).stdout).toBe("created\n");
  playground.must("start", created.id);
  playground.must("pause", created.id);
  const paused = created.exec(["true"]);
  expect(paused).toMatchObject({ code: 255 });
  expect(paused.stderr).toContain("cannot exec in a paused container (use --ignore-paused to override)");
  // It goes no further than into the group, until that goes on.
  const child = Bun.spawn(
    [runc, "--root", playground.root, "exec", "--ignore-paused", created.id, "sh", "-c", "exit 9"],
    { stdio: ["ignore", "ignore", "ignore"] },
  );
  const inside = () => playground.must("ps", "--format", "json", created.id);
  while (JSON.parse(inside()).length < 2) await Bun.sleep(5);
  playground.must("resume", created.id);
  expect(await child.exited).toBe(9);
  expect(playground.command(["exec", created.id]).stderr).toContain("exec args cannot be empty");
  playground.must("kill", created.id, "KILL");
  while (created.state().status !== "stopped") Bun.sleepSync(5);
  expect(created.exec(["true"]).stderr).toContain("cannot exec in a stopped container");
  expect(playground.command(["exec", "nobody", "true"]).stderr).toContain("container does not exist");
});

it("--cgroup starts the process in a group below the container's, and refuses others", () => {
  using container = playground.start();
  const groups = [...new Set(container.groups().values())].filter(
    (group) => group.endsWith(`/${container.id}`) && fs.existsSync(group),
  );
  for (const group of groups) {
    fs.mkdirSync(path.join(group, "below"));
    for (const name of ["cpuset.cpus", "cpuset.mems"]) {
      // A new group of v1 has none.
      const own = path.join(group, name);
      if (!unified && fs.existsSync(own))
        fs.writeFileSync(path.join(group, "below", name), fs.readFileSync(own));
    }
  }
  try {
    const { stdout, stderr } = container.exec(["cat", "/proc/self/cgroup"], ["--cgroup", "/below"]);
    expect(stderr).toBe("");
    // Some of the names of a hierarchy with several controllers are links.
    const hierarchies = new Set(groups.map((group) => fs.statSync(group).dev)).size;
    expect(stdout.match(/\/below$/gm)).toHaveLength(hierarchies);
    if (!unified) {
      const one = container.exec(["cat", "/proc/self/cgroup"], ["--cgroup", "cpu:below"]).stdout;
      expect(one).toMatch(/cpu[^\n]*:\/below$/m);
      expect(one).toMatch(/pids:\/$/m);
    }
  } finally {
    for (const group of groups) fs.rmdirSync(path.join(group, "below"));
  }
  const refusals = [
    [["--cgroup", "/no/such"], "no such file or directory"],
    [["--cgroup", "../.."], "bad sub cgroup path: ../.."],
    [["--cgroup", "x:a", "--cgroup", "b"], "invalid --cgroup argument: b (missing <controller>: prefix)"],
    [["--cgroup", ":a"], "invalid --cgroup argument: :a (empty <controller> prefix)"],
    [["--cgroup", "x,x:a"], "invalid --cgroup argument(s): controller x specified multiple times"],
    [["--cgroup", "nosuch:a"], "unknown controller nosuch in SubCgroupPaths"],
  ] as const;
  for (const [flags, words] of refusals) expect(container.exec(["true"], [...flags]).stderr).toContain(words);
});

itWithUsers("joins users and clocks of the container as well", () => {
  const offset = 5_000_000;
  const mapping = [{ containerID: 0, hostID: 100_000, size: 1000 }];
  using container = playground.start({
    linux: {
      uidMappings: mapping,
      gidMappings: mapping,
      timeOffsets: { boottime: { secs: offset } },
      namespaces: [...(playground.config().linux.namespaces ?? []), { type: "user" }, { type: "time" }],
    },
  });
  const { stdout } = container.script(
    "cut -d. -f1 /proc/uptime; tr -s ' ' < /proc/self/uid_map; id -u; sed -n 's/^CapEff:\\t//p' /proc/self/status",
  );
  const [uptime, map, uid, rights] = stdout.trim().split("\n");
  expect(Number(uptime)).toBeGreaterThan(offset);
  expect(map?.trim()).toBe("0 100000 1000");
  expect([uid, rights]).toEqual(["0", "0000000020000420"]);
  expect(container.exec(["id", "-u"], ["--user", "7"]).stdout).toBe("7\n");
});

it("uses the container's session keyring, or the caller's if it was made so", () => {
  const ring = "sed -n 's/.*keyring *\\(_ses[^:]*\\).*/\\1/p' /proc/keys";
  using container = playground.start({ linux: { maskedPaths: [] } });
  const { stdout } = container.script(ring);
  expect(stdout).toContain(`_ses.${container.id}\n`);
});

it("warns of capabilities that can't be ambient", () => {
  using container = playground.start();
  const at = path.join(playground.dir, "process.json");
  const sets = {
    bounding: ["CAP_KILL"],
    permitted: ["CAP_KILL"],
    effective: ["CAP_KILL"],
    ambient: ["CAP_KILL"],
  };
  fs.writeFileSync(at, JSON.stringify({ args: ["true"], env: ["PATH=/bin"], cwd: "/", capabilities: sets }));
  const { code, stderr } = playground.command(["exec", "--process", at, container.id]);
  expect(code).toBe(0);
  expect(stderr).toContain("can't raise ambient capability CAP_KILL: operation not permitted");
});
