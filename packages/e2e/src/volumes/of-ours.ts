import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { eventually, mountsBelow } from "@longshore/testkit";
import { api } from "../engine-api.ts";
import { ours, skipped } from "../world.ts";
import { FILLED, must, type VolumesScene } from "./scene.ts";

const compose = findExecutable("docker-compose");
if (!compose) skipped("volumes of docker-compose: docker-compose is not installed");

/** What only our engine is asked. */
export function volumesOfOurs({ world, dir }: VolumesScene): void {
  describe("volumes of our engine", () => {
    const docker = (...args: string[]) => world().docker(ours)(...args);
    const attempt = (...args: string[]) => world().docker(ours).run(args);

    test("copy-up follows the image's links within it, and leaves out what it is told to", async () => {
      const run = (...args: string[]) => docker("run", "--rm", "--network", "none", ...args);
      const volumes = await docker("image", "inspect", "-f", "{{json .Config.Volumes}}", FILLED);
      expect(volumes).toBe('{"/data":{}}');
      // Through a link of the image, but never out of it.
      expect(await run("-v", "short:/short", FILLED, "cat", "/short/file")).toBe("hello");
      expect(await run("-v", "out:/outside/x", FILLED, "ls", "/outside/x")).toBe("");
      expect(await run("-v", "none:/data:nocopy", FILLED, "ls", "-A", "/data")).toBe("");
      const onFile = await attempt(
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "file:/etc/passwd/x",
        FILLED,
        "true",
      );
      expect(onFile.stderr).toMatch(/cannot mount volume over existing file|not a directory/);
    });

    test("parts of volumes and images are mounted; no link leads out of them", async () => {
      await docker(
        "run",
        "--rm",
        "-v",
        "vol:/v",
        world().busybox,
        "sh",
        "-c",
        "mkdir -p /v/a/b; echo deep >/v/a/b/f; ln -s /etc /v/evil; ln -s a/b /v/in; ln -s ../../../../../../etc /v/up",
      );
      const part = (subpath: string) => ["--mount", `src=vol,dst=/p,volume-subpath=${subpath}`];
      const run = (...args: string[]) => docker("run", "--rm", "--network", "none", ...args);
      expect(await run(...part("a/b"), world().busybox, "cat", "/p/f")).toBe("deep");
      expect(await run(...part("a/b/f"), world().busybox, "cat", "/p")).toBe("deep");
      expect(await run(...part("in"), world().busybox, "ls", "/p")).toBe("f");
      for (const evil of ["evil", "up", "nosuch"]) {
        const refused = await attempt(
          "run",
          "--rm",
          "--network",
          "none",
          ...part(evil),
          world().busybox,
          "ls",
          "/p",
        );
        expect(refused.stderr).toContain(`cannot access path ${evil}: no such file or directory`);
      }
      const image = `type=image,src=${FILLED},dst=/i`;
      expect(await run("--mount", image, world().busybox, "cat", "/i/data/sub/file")).toBe("hello");
      const sub = await run("--mount", `${image},image-subpath=data/sub`, world().busybox, "ls", "/i");
      expect(sub).toBe("file");
      const write = await attempt(
        "run",
        "--rm",
        "--network",
        "none",
        "--mount",
        image,
        world().busybox,
        "touch",
        "/i/x",
      );
      expect(write.stderr).toContain("Read-only file system");
      expect(mountsBelow(world().engine.dir).filter((point) => point.includes("/mounts/"))).toEqual([]);
    });

    test("a part of a volume that somebody swaps for a link while containers start stays in the volume", async () => {
      const swap =
        "mkdir -p /v/sub; touch /v/sub/inside; while :; do mv /v/sub /v/x; ln -s /etc /v/sub; rm /v/sub; mv /v/x /v/sub; done";
      await docker("run", "-d", "--network", "none", "-v", "vol:/v", world().busybox, "sh", "-c", swap);
      const seen = new Set<string>();
      for (let start = 0; start < 10; start++) {
        const mount = ["--mount", "src=vol,dst=/p,volume-subpath=sub"];
        const { stdout, stderr } = await attempt(
          "run",
          "--rm",
          "--network",
          "none",
          ...mount,
          world().busybox,
          "ls",
          "/p",
        );
        seen.add(stdout);
        if (stdout === "") expect(stderr).toMatch(/cannot access path sub|openat2/);
      }
      expect([...seen].filter((text) => text !== "" && text !== "inside\n")).toEqual([]);
    });

    test("binds with what is mounted below them, or without; read-only goes all the way down, unless told", async () => {
      const host = fs.mkdtempSync(path.join(dir(), "nested-"));
      fs.mkdirSync(path.join(host, "in"));
      must("mount", "-t", "tmpfs", "nested", path.join(host, "in"));
      try {
        fs.writeFileSync(path.join(host, "in", "f"), "");
        const bind = (more: string) => ["--mount", `type=bind,src=${host},dst=/h${more}`];
        const run = (...args: string[]) => docker("run", "--rm", "--network", "none", ...args);
        expect(await run(...bind(""), world().busybox, "ls", "/h/in")).toBe("f");
        expect(await run(...bind(",bind-recursive=disabled"), world().busybox, "ls", "/h/in")).toBe("");
        const write = async (more: string) =>
          (
            await attempt(
              "run",
              "--rm",
              "--network",
              "none",
              ...bind(more),
              world().busybox,
              "touch",
              "/h/in/g",
            )
          ).stderr;
        expect(await write(",readonly")).toContain("Read-only file system");
        expect(await write(",readonly,bind-recursive=readonly,bind-propagation=rprivate")).toContain(
          "Read-only",
        );
        expect(await write(",readonly,bind-recursive=writable")).toBe("");
        const made = path.join(host, "made");
        await run(
          "--mount",
          `type=bind,src=${made},dst=/h,bind-create-src`,
          world().busybox,
          "touch",
          "/h/f",
        );
        expect(fs.readdirSync(made)).toEqual(["f"]);
      } finally {
        must("umount", "-l", path.join(host, "in"));
      }
    });

    test("a bind shows what is mounted on the host later, or what the container mounts, as its propagation says", async () => {
      const host = fs.mkdtempSync(path.join(dir(), "shared-"));
      must("mount", "--bind", host, host);
      try {
        must("mount", "--make-private", host);
        const mount = (propagation: string) => [
          "--mount",
          `type=bind,src=${host},dst=/h,bind-propagation=${propagation}`,
        ];
        const refused = await attempt(
          "run",
          "--rm",
          "--network",
          "none",
          ...mount("rslave"),
          world().busybox,
          "true",
        );
        expect(refused.stderr).toContain(
          `path ${host} is mounted on ${host} but it is not a shared or slave mount`,
        );
        must("mount", "--make-shared", host);
        for (const name of ["rshared", "rslave", "rprivate"])
          await docker(
            "run",
            "-d",
            "--privileged",
            "--name",
            name,
            ...mount(name),
            world().busybox,
            "sleep",
            "60",
          );
        fs.mkdirSync(path.join(host, "in"));
        fs.mkdirSync(path.join(host, "out"));
        must("mount", "-t", "tmpfs", "later", path.join(host, "in"));
        const sees = async (name: string) =>
          await docker("exec", name, "grep", "-c", " /h/in ", "/proc/mounts").catch(() => "0");
        expect([await sees("rshared"), await sees("rslave"), await sees("rprivate")]).toEqual([
          "1",
          "1",
          "0",
        ]);
        await docker("exec", "rslave", "mount", "-t", "tmpfs", "x", "/h/out");
        expect(mountsBelow(path.join(host, "out"))).toEqual([]);
        await docker("exec", "rshared", "mount", "-t", "tmpfs", "x", "/h/out");
        expect(mountsBelow(host)).toContain(path.join(host, "out"));
        await docker("rm", "-f", "rshared", "rslave", "rprivate");
      } finally {
        for (const point of [...mountsBelow(host)].reverse()) must("umount", "-l", point);
      }
    });

    test("events tell of volumes; df of what they take up", async () => {
      const since = String(Date.now() / 1000);
      await docker("volume", "create", "told");
      await docker("run", "--rm", "-v", "told:/v", world().busybox, "sh", "-c", "echo 12345 >/v/f");
      const df = JSON.parse((await api(world(), "GET", "/system/df?type=volume")).body) as {
        Volumes: { Name: string; UsageData: object }[];
      };
      expect(df.Volumes.map(({ Name, UsageData }) => ({ Name, UsageData }))).toEqual([
        { Name: "told", UsageData: { RefCount: 0, Size: 6 } },
      ]);
      await docker("volume", "rm", "told");
      const filters = encodeURIComponent('{"type":["volume"]}');
      const until = String(Date.now() / 1000 + 0.01);
      const { body } = await api(world(), "GET", `/events?since=${since}&until=${until}&filters=${filters}`);
      const events = body
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { Action: string; Actor: { ID: string; Attributes: object } });
      expect(events.map(({ Action, Actor }) => `${Action} ${Actor.ID}`)).toEqual([
        "create told",
        "mount told",
        "unmount told",
        "destroy told",
      ]);
      expect(events[1]?.Actor.Attributes).toMatchObject({
        driver: "local",
        destination: "/v",
        "read/write": "true",
      });
    });

    test.skipIf(!compose)(
      "docker-compose makes a project's volumes, keeps them over an up, and takes them away",
      async () => {
        const project = fs.mkdtempSync(path.join(dir(), "project-"));
        fs.writeFileSync(
          path.join(project, "docker-compose.yml"),
          JSON.stringify({
            version: "3.7",
            services: {
              one: {
                image: FILLED,
                network_mode: "none",
                command: ["sh", "-c", "cat /data/sub/file /conf/f >>/shared/log; exec sleep 60"],
                stop_signal: "SIGKILL",
                volumes: ["shared:/shared", "./conf:/conf:ro", { type: "tmpfs", target: "/scratch" }],
              },
            },
            volumes: { shared: { labels: { tier: "log" } } },
          }),
        );
        fs.mkdirSync(path.join(project, "conf"));
        fs.writeFileSync(path.join(project, "conf", "f"), "configured\n");
        const run = (...args: string[]) => {
          const env = { ...process.env, DOCKER_HOST: world().engine.suite.dockerHost };
          const options = { cwd: project, encoding: "utf8", env } as const;
          const { status, stderr } = spawnSync(compose ?? "", ["-p", "proj", ...args], options);
          expect({ args, status, stderr: status === 0 ? "" : stderr }).toEqual({
            args,
            status: 0,
            stderr: "",
          });
        };
        const container = () => docker("ps", "-q", "-f", "label=com.docker.compose.service=one");
        const log = async () => docker("exec", await container(), "cat", "/shared/log");
        run("up", "-d");
        await eventually(async () => (await log()) === "hello\nconfigured", { what: "the service's words" });
        expect(await docker("volume", "ls", "-q", "-f", "label=tier=log")).toBe("proj_shared");
        const before = await docker("volume", "ls", "-q");
        run("up", "-d", "--force-recreate");
        await eventually(async () => (await log()).split("\n").length === 4, { what: "the words again" });
        expect(await docker("volume", "ls", "-q")).toBe(before); // compose takes the nameless one over
        run("down", "-v");
        // By giving it by name, compose has made it one that stays; it has no name of anybody's all the same.
        const left = await docker("volume", "ls", "-q");
        expect(left).toMatch(/^[0-9a-f]{64}$/);
        expect(await docker("volume", "prune", "-f")).toContain(left);
      },
    );

    test("prune takes nameless volumes only, unless told, and for old clients all", async () => {
      const prune = async (version: string, filters = "{}") => {
        const { body } = await api(
          world(),
          "POST",
          `/v${version}/volumes/prune?filters=${encodeURIComponent(filters)}`,
        );
        return (JSON.parse(body) as { VolumesDeleted: string[] | null }).VolumesDeleted;
      };
      const anonymous = await docker("volume", "create");
      await docker("volume", "create", "--label", "keep=1", "one");
      await docker("volume", "create", "two");
      expect(await prune("1.44")).toEqual([anonymous]);
      expect(await prune("1.44", '{"all":["true"],"label!":["keep=1"]}')).toEqual(["two"]);
      // What somebody has described is kept, and not measured either.
      await docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "described");
      const { body } = await api(world(), "GET", "/system/df?type=volume");
      expect((JSON.parse(body) as { Volumes: { Name: string }[] }).Volumes.map(({ Name }) => Name)).toEqual([
        "one",
      ]);
      expect(await prune("1.41")).toEqual(["one"]);
      expect(await prune("1.41")).toEqual([]);
      expect(await docker("volume", "ls", "-q", "-f", "name=^desc.*d$")).toBe("described");
      await docker("volume", "rm", "described");
    });

    test("volumes stay in use over a kill of the daemon, and what it left mounted or half-made goes", async () => {
      const { suite } = world().engine;
      await docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "fast");
      const script = "echo here >/f/x; trap 'exit 0' TERM; while :; do sleep 0.05; done";
      await docker(
        "run",
        "-d",
        "--name",
        "user",
        "-v",
        "fast:/f",
        "-v",
        "kept:/k",
        "-v",
        "/anon",
        world().busybox,
        "sh",
        "-c",
        script,
      );
      await docker("create", "--name", "idle", "-v", "idle:/i", world().busybox, "true");
      const pid = Number(await docker("inspect", "-f", "{{.State.Pid}}", "user"));
      const mountpoint = await docker("volume", "inspect", "-f", "{{.Mountpoint}}", "kept");
      const root = path.dirname(path.dirname(mountpoint));
      await suite.kill("dockerd", "SIGKILL");
      // As of a container that was being made.
      const half = "ab".repeat(32);
      fs.mkdirSync(path.join(root, half, "_data"), { recursive: true });
      fs.writeFileSync(path.join(root, half, "unwanted"), "");
      // As of an engine that has lost its records.
      fs.mkdirSync(path.join(root, "found", "_data"), { recursive: true });
      await suite.restart("dockerd");

      const names = (await docker("volume", "ls", "-q")).split("\n");
      expect(names).toEqual(expect.arrayContaining(["fast", "found", "idle", "kept"]));
      expect(names).toHaveLength(5);
      expect(fs.existsSync(path.join(root, half))).toBe(false);
      for (const name of ["fast", "kept", "idle"])
        expect((await attempt("volume", "rm", name)).stderr).toContain("volume is in use");
      expect(await docker("run", "--rm", "-v", "fast:/f", world().busybox, "cat", "/f/x")).toBe("here");
      expect(mountsBelow(path.join(root, "fast"))).toHaveLength(1);

      await suite.kill("dockerd", "SIGKILL");
      process.kill(pid, "SIGKILL");
      await suite.restart("dockerd");
      expect(await docker("inspect", "-f", "{{.State.Status}}", "user")).toBe("exited");
      expect(mountsBelow(path.join(root, "fast"))).toEqual([]);
    });

    test("kills of the daemon while containers come and go leave no volume that is nobody's", async () => {
      const { suite } = world().engine;
      await docker("volume", "create", "known");
      const mountpoint = await docker("volume", "inspect", "-f", "{{.Mountpoint}}", "known");
      const root = path.dirname(path.dirname(mountpoint));
      for (let round = 0; round < 6; round++) {
        const clients = [1, 2, 3].map(() =>
          attempt("run", "--rm", "--network", "none", "-v", "/anon", FILLED, "true"),
        );
        await Bun.sleep(round * 50); // at another moment each time
        await suite.kill("dockerd", "SIGKILL");
        await suite.restart("dockerd");
        await Promise.all(clients);
        await eventually(async () => (await docker("ps", "-q")) === "", { what: "the containers' end" });
        const ids = await docker("ps", "-aq");
        if (ids !== "") await docker("rm", "-f", "-v", ...ids.split("\n"));
        const left = () => [fs.readdirSync(root).sort().join(), mountsBelow(root).join()];
        await eventually(
          async () => (await docker("volume", "ls", "-q")) === "known" && left()[0] === "known",
          {
            what: "no volume but the known one",
          },
        );
        expect(left()).toEqual(["known", ""]);
      }
    });

    test("nothing is left behind", async () => {
      expect(await world().engine.leaks()).toEqual([]);
    });
  });
}
