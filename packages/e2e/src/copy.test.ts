import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { clis, useWorld } from "./world.ts";

const world = useWorld();
const real = (...args: string[]) => world().docker()(...args);
const dir = tempDir();
const local = (name: string) => path.join(dir.path, name);

afterAll(() => dir[Symbol.dispose]());
afterEach(async () => {
  const ids = await real("ps", "-aq");
  if (ids !== "") await real("rm", "-f", ...ids.split("\n"));
  for (const name of fs.readdirSync(dir.path)) fs.rmSync(local(name), { recursive: true });
});

/** A tar of one file, as these options of tar(1) make it. */
function tarOf(name: string, ...options: string[]): string {
  fs.writeFileSync(local(name), name);
  return execFileSync("tar", ["c", "-C", dir.path, ...options, name], { encoding: "latin1" });
}

const FILES = [
  "mkdir -p /data/sub && echo one > /data/one && echo two > /data/sub/two",
  "ln -s sub/two /data/link && ln -s /data /alias && ln /data/one /data/hard",
  "chmod 4750 /data/sub/two && chown 12:34 /data/sub/two && mkfifo /data/pipe",
].join(" && ");

describe.each(clis)("cp by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const attempt = (...args: string[]) => world().docker(cli).run(args);

  /** A container with files, running or stopped, with a volume and a read-only bind. */
  async function container(state: "running" | "stopped"): Promise<string> {
    fs.mkdirSync(local("bound"), { recursive: true });
    fs.writeFileSync(local("bound/b"), "bound\n");
    const mounts = ["-v", "/vol", "-v", `${local("bound")}:/bound:ro`];
    const script = `test -e /ready || { ${FILES} && echo v > /vol/v && touch /ready; }; exec sleep 1000`;
    const id = await real("run", "-d", "--net", "none", ...mounts, world().busybox, "sh", "-c", script);
    while ((await world().docker().run(["exec", id, "test", "-e", "/ready"])).status !== 0);
    if (state === "stopped") await real("stop", "-t", "0", id);
    return id;
  }

  /** What a file is like in the container, which may have to run for that. */
  async function inside(id: string, script: string): Promise<string> {
    await real("start", id);
    return real("exec", id, "sh", "-c", script);
  }

  test.each(["running", "stopped"] as const)("out of a %s container", async (state) => {
    const id = await container(state);
    await docker("cp", `${id}:/data/one`, local("file"));
    expect(fs.readFileSync(local("file"), "utf8")).toBe("one\n");
    await docker("cp", `${id}:/data`, local("new"));
    expect(fs.readdirSync(local("new")).sort()).toEqual(["hard", "link", "one", "pipe", "sub"]);
    expect(fs.readFileSync(local("new/hard"), "utf8")).toBe("one\n");
    expect(fs.readlinkSync(local("new/link"))).toBe("sub/two");
    expect(fs.statSync(local("new/sub/two")).mode & 0o777).toBe(0o750);
    expect(fs.statSync(local("new/pipe")).isFIFO()).toBe(true);
    fs.mkdirSync(local("into"));
    await docker("cp", `${id}:/data/sub`, local("into"));
    await docker("cp", `${id}:/data/sub/.`, local("into"));
    expect(fs.readdirSync(local("into")).sort()).toEqual(["sub", "two"]);
    // A link is copied as it is, or what it leads to.
    await docker("cp", `${id}:/data/link`, local("as-link"));
    expect(fs.readlinkSync(local("as-link"))).toBe("sub/two");
    await docker("cp", "-L", `${id}:/data/link`, local("followed"));
    expect(fs.readFileSync(local("followed"), "utf8")).toBe("two\n");
    await docker("cp", `${id}:/alias/one`, local("through"));
    expect(fs.readFileSync(local("through"), "utf8")).toBe("one\n");
    if (cli.ours) {
      fs.mkdirSync(local("fitting"));
      await docker("cp", `${id}:/data/[os]*`, local("fitting"));
      expect(fs.readdirSync(local("fitting"), { recursive: true }).sort()).toEqual(["one", "sub", "sub/two"]);
      expect(fs.readFileSync(local("fitting/sub/two"), "utf8")).toBe("two\n");
      fs.mkdirSync(local("all"));
      await docker("cp", `${id}:/data/*`, local("all"));
      expect(fs.readdirSync(local("all")).sort()).toEqual(["hard", "link", "one", "pipe", "sub"]);
      for (const [from, to, words] of [
        ["/data/x*", "fitting", /Could not find the file .data.x\* in container/],
        ["/none/*", "fitting", /Could not find the file/],
        ["/data/*", "not-there", /must be a directory: the source has wildcards/],
      ] as const)
        expect((await attempt("cp", `${id}:${from}`, local(to))).stderr).toMatch(words);
    }
    // Volumes and binds are there as well.
    await docker("cp", `${id}:/vol/v`, local("v"));
    await docker("cp", `${id}:/bound/b`, local("b"));
    expect(fs.readFileSync(local("v"), "utf8") + fs.readFileSync(local("b"), "utf8")).toBe("v\nbound\n");
    const { stdout } = await attempt("cp", `${id}:/data/one`, "-");
    expect([stdout.startsWith("one\0"), stdout.slice(512, 516)]).toEqual([true, "one\n"]);
    for (const [from, words] of [
      ["/nope", /Could not find the file .nope in container|No such container:path/],
      ["/data/one/", /not a directory/],
    ] as const) {
      const failed = await attempt("cp", `${id}:${from}`, local("x"));
      expect(failed.status).toBe(1);
      expect(failed.stderr).toMatch(words);
    }
  });

  test.each(["running", "stopped"] as const)("into a %s container", async (state) => {
    const id = await container(state);
    fs.mkdirSync(local("tree/sub"), { recursive: true });
    fs.writeFileSync(local("tree/sub/f"), "f\n", { mode: 0o640 });
    fs.symlinkSync("/etc/passwd", local("tree/out"));
    fs.writeFileSync(local("big"), Buffer.alloc(3_000_000, "0123456789\n"));
    await docker("cp", local("tree"), `${id}:/made`);
    await docker("cp", local("tree"), `${id}:/data`);
    await docker("cp", `${local("tree")}/.`, `${id}:/data/sub`);
    await docker("cp", local("big"), `${id}:/data/sub/two`); // in the place of a file
    await docker("cp", local("big"), `${id}:/alias/`); // through a link
    await docker("cp", local("big"), `${id}:/vol/big`);
    const refused = await attempt("cp", local("big"), `${id}:/bound/big`);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("mounted volume is marked read-only");
    expect((await attempt("cp", local("tree"), `${id}:/data/one`)).stderr).toMatch(
      /cannot (copy directory|overwrite non-directory)/,
    );
    expect((await attempt("cp", local("big"), `${id}:/nowhere/at/all`)).status).toBe(1);
    const piped = await world()
      .docker(cli)
      .run(["cp", "-", `${id}:/data`], { stdin: "no tar" });
    expect(piped.status).toBe(1);
    const size = "wc -c < /data/sub/two; wc -c < /data/big; wc -c < /vol/big";
    expect((await inside(id, size)).split("\n").map(Number)).toEqual([3e6, 3e6, 3e6]);
    const found =
      "cat /made/sub/f /data/tree/sub/f /data/sub/sub/f; readlink /made/out; stat -c %a /made/sub/f";
    expect(await inside(id, found)).toBe("f\nf\nf\n/etc/passwd\n640");
    // With -a it is the container's user's.
    const other = await real("create", "--net", "none", "-u", "12:34", world().busybox, "sleep", "1000");
    await docker("cp", local("big"), `${other}:/theirs`);
    await docker("cp", "-a", local("big"), `${other}:/own`);
    expect(await inside(other, "stat -c %u:%g /theirs /own")).toBe("0:0\n12:34");
    // Without a user whom the container runs as, it stays whose it was.
    const tar = { stdin: tarOf("owned", "--owner=56", "--group=78") };
    expect(
      (
        await world()
          .docker(cli)
          .run(["cp", "-a", "-", `${id}:/data`], tar)
      ).status,
    ).toBe(0);
    expect(await inside(id, "stat -c %u:%g /data/owned")).toBe("56:78");
    const above = { stdin: tarOf("owned", "-P", "--transform=s|^|../../|") };
    const outside = await world()
      .docker(cli)
      .run(["cp", "-", `${id}:/data`], above);
    expect(outside.stderr).toContain('invalid entry name "../../owned"');
    expect(await inside(id, "test -e /owned || echo none")).toBe("none");
  });

  test("all of a running container, without what the kernel and the runtime have put there", async () => {
    const id = await container("running");
    await real("exec", id, "sh", "-c", "echo x > /dev/shm/x");
    await docker("cp", `${id}:/`, local("all"));
    for (const name of ["proc", "sys", "dev"]) expect(fs.readdirSync(local(`all/${name}`))).toEqual([]);
    const read = (name: string) => fs.readFileSync(local(name), "utf8");
    expect(read("all/data/one") + read("all/vol/v")).toBe("one\nv\n");
    await docker("cp", `${id}:/dev/shm/x`, local("x"));
    expect(read("x")).toBe("x\n");
    expect((await attempt("cp", `${id}:/proc/1/comm`, local("comm"))).status).toBe(1);
  });

  test("nothing leads out of the container, and a read-only root stays as it is", async () => {
    const evil = "ln -s / /up; ln -s ../../../../../.. /more; mkdir /in; ln -s /in /dir; exec sleep 1000";
    const id = await real("run", "-d", "--net", "none", world().busybox, "sh", "-c", evil);
    while ((await world().docker().run(["exec", id, "test", "-h", "/dir"])).status !== 0);
    fs.writeFileSync(local("secret"), "of the host");
    for (const state of ["running", "stopped"]) {
      for (const start of ["/up", "/more", "/dir/../../../..", "/proc/1/root", "/proc/self/root"]) {
        const { status } = await attempt("cp", `${id}:${start}${local("secret")}`, local("got"));
        expect({ start, state, status }).toEqual({ start, state, status: 1 });
      }
      await docker("cp", local("secret"), `${id}:/more/${state}`);
      expect(fs.existsSync(`/${state}`)).toBe(false);
      await real("stop", "-t", "0", id);
    }
    expect(await inside(id, "cat /running /stopped")).toBe("of the hostof the host");
    const readOnly = await real("create", "--read-only", "--net", "none", world().busybox, "sleep", "1000");
    for (const step of ["created", "running"]) {
      const { status, stderr } = await attempt("cp", local("secret"), `${readOnly}:/x`);
      expect({ step, status }).toEqual({ step, status: 1 });
      expect(stderr).toContain("container rootfs is marked read-only");
      await real("start", readOnly);
    }
  });
});

test("a daemon that is killed while it copies out of a stopped container leaves nothing mounted", async () => {
  const { engine } = world();
  const id = await real("create", "--net", "none", "-v", "/vol", world().busybox, "true");
  fs.writeFileSync(local("big"), Buffer.alloc(64 << 20, "x"));
  await real("cp", local("big"), `${id}:/vol/big`);
  const request = await fetch(`http://docker/containers/${id}/archive?path=/vol`, {
    unix: engine.suite.dockerHost.replace("unix://", ""),
  });
  const mounted = () => fs.readFileSync("/proc/self/mountinfo", "utf8").includes(`${id}.copy`);
  expect([request.status, mounted()]).toEqual([200, true]); // nobody reads it, so it waits
  await engine.suite.kill("dockerd", "SIGKILL");
  await request.body?.cancel().catch(() => {});
  await engine.suite.start("dockerd");
  expect(mounted()).toBe(false);
  await real("start", id);
});

test("nothing is left behind", async () => {
  expect(await world().engine.leaks()).toEqual([]);
});
