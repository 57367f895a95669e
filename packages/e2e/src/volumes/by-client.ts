import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { mountsBelow } from "@longshore/testkit";
import { clis } from "../world.ts";
import { FILLED, type VolumesScene } from "./scene.ts";

interface Mount {
  Type: string;
  Name?: string;
  Source: string;
  Destination: string;
  Driver?: string;
  Mode: string;
  RW: boolean;
  Propagation: string;
}

/** As users of any client have them. */
export function volumesByClient({ world, dir }: VolumesScene): void {
  describe.each(clis)("volumes by $name", (cli) => {
    const docker = (...args: string[]) => world().docker(cli)(...args);
    const attempt = (...args: string[]) => world().docker(cli).run(args);
    const sh = (...args: string[]) => docker("run", "--rm", "--network", "none", ...args);
    const mountsOf = async (name: string): Promise<Mount[]> => {
      const mounts = JSON.parse(await docker("inspect", "-f", "{{json .Mounts}}", name)) as Mount[];
      return mounts.sort((a, b) => (a.Destination < b.Destination ? -1 : 1));
    };

    test("volume create, ls, inspect, rm and prune", async () => {
      expect(await docker("volume", "create", "--label", "tier=db", "data")).toBe("data");
      const made = await docker("volume", "create");
      expect(made).toMatch(/^[0-9a-f]{64}$/);
      expect(await docker("volume", "create", "data")).toBe("data");
      expect(await docker("volume", "ls", "-q", "-f", "name=dat")).toBe("data");
      expect(await docker("volume", "ls", "-q", "-f", "label=tier=db", "-f", "driver=local")).toBe("data");
      expect(await docker("volume", "ls", "-q", "-f", "dangling=false")).toBe("");
      expect(
        await docker("volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}}", "-f", "name=data"),
      ).toBe("data local tier=db");
      const [volume] = JSON.parse(await docker("volume", "inspect", "data")) as [{ Mountpoint: string }];
      expect(volume).toMatchObject({ Name: "data", Driver: "local", Scope: "local", Labels: { tier: "db" } });
      expect(volume.Mountpoint).toEndWith("/volumes/data/_data");
      expect(fs.statSync(volume.Mountpoint).isDirectory()).toBe(true);

      await docker("run", "--name", "user", "-v", "data:/d", world().busybox, "touch", "/d/x");
      expect(await docker("volume", "ls", "-q", "-f", "dangling=true")).toBe(made);
      const refused = await attempt("volume", "rm", "data");
      expect(refused.status).toBe(1);
      const id = await docker("ps", "-aq", "--no-trunc");
      expect(refused.stderr).toContain(`remove data: volume is in use - [${id}]`);
      // Of a client of before 1.42 as of later ones, only what is unused and, unless told, nameless goes.
      expect(await docker("volume", "prune", "-f")).toContain(`Deleted Volumes:\n${made}`);
      await docker("rm", "-v", "user");
      expect(await docker("volume", "ls", "-q")).toBe("data");
      expect(await docker("volume", "rm", "data")).toBe("data");
      expect(fs.existsSync(path.dirname(volume.Mountpoint))).toBe(false);
      expect((await attempt("volume", "rm", "data")).stderr).toMatch(/no such volume/i);
      expect((await attempt("volume", "rm", "-f", "data")).status).toBe(0);
      const bad = await attempt("volume", "create", "a/b");
      expect(bad.stderr).toContain('create a/b: "a/b" includes invalid characters for a local volume name');
      const foreign = await attempt("volume", "create", "-d", "nosuch", "x");
      expect(foreign.stderr).toContain('error looking up volume plugin nosuch: plugin "nosuch" not found');
    });

    test("an image's volume starts with its files, their owners, modes and links; a named one keeps what is in it", async () => {
      const list = "stat -c '%u:%g %a %h %F' /data /data/sub/file /data/again /data/link; cat /data/sub/file";
      const expected =
        "12:34 1750 3 directory\n12:34 640 2 regular file\n12:34 640 2 regular file\n12:34 777 1 symbolic link\nhello";
      expect(await sh(FILLED, "sh", "-c", list)).toBe(expected);
      expect(await sh("-v", "/data", FILLED, "sh", "-c", list)).toBe(expected);
      expect(await docker("volume", "ls", "-q")).toBe("");
      expect(await sh("-v", "named:/data", FILLED, "sh", "-c", list)).toBe(expected);
      await sh("-v", "named:/data", FILLED, "sh", "-c", "rm -r /data/* && echo mine >/data/own");
      expect(await sh("-v", "named:/data", FILLED, "ls", "/data")).toBe("own");
    });

    test("inspect and ps show the mounts; rm -v takes the nameless volumes", async () => {
      const host = fs.mkdtempSync(path.join(dir(), "host-"));
      const given = ["-v", "named:/n", "-v", `${host}:/h:ro`, "--mount", "type=tmpfs,dst=/t,tmpfs-mode=700"];
      await docker("create", "--name", "cc", ...given, "-v", "/anon", FILLED, "true");
      const shown = await mountsOf("cc");
      const anon = shown[0]?.Name ?? "";
      const data = shown[1]?.Name ?? "";
      const root = path.dirname(path.dirname(shown[0]?.Source ?? ""));
      const volume = { Type: "volume", Driver: "local", RW: true, Propagation: "" };
      expect(anon).toMatch(/^[0-9a-f]{64}$/);
      expect(shown).toEqual([
        { ...volume, Name: anon, Source: `${root}/${anon}/_data`, Destination: "/anon", Mode: "" },
        { ...volume, Name: data, Source: `${root}/${data}/_data`, Destination: "/data", Mode: "" },
        { Type: "bind", Source: host, Destination: "/h", Mode: "ro", RW: false, Propagation: "rprivate" },
        { ...volume, Name: "named", Source: `${root}/named/_data`, Destination: "/n", Mode: "z" },
        { Type: "tmpfs", Source: "", Destination: "/t", Mode: "", RW: true, Propagation: "" },
      ]);
      for (const wanted of ["named", "/n", host, "/h", anon])
        expect(await docker("ps", "-a", "-f", `volume=${wanted}`, "--format", "{{.Names}}")).toBe("cc");
      expect(await docker("ps", "-a", "-f", "volume=other", "-q")).toBe("");
      expect(await docker("ps", "-a", "--no-trunc", "--format", "{{.Mounts}}")).toContain("named");
      await docker("rm", "cc");
      expect((await docker("volume", "ls", "-q")).split("\n").sort()).toEqual([anon, data, "named"].sort());
      await docker("create", "--name", "cc", ...given, "-v", "/anon", FILLED, "true");
      await docker("rm", "-v", "cc");
      expect((await docker("volume", "ls", "-q")).split("\n").sort()).toEqual([anon, data, "named"].sort());
    });

    test("--volumes-from shares, read-only if asked; what is shared outlives its first container", async () => {
      await docker("create", "--name", "first", "-v", "/anon", "-v", "named:/n", world().busybox, "true");
      const [{ Name: anon = "" } = { Name: "" }] = await mountsOf("first");
      await sh("--volumes-from", "first", world().busybox, "sh", "-c", "echo shared >/anon/x");
      const args = ["--name", "second", "--volumes-from", "first:ro"];
      const script = "cat /anon/x; touch /n/y";
      const result = await attempt("run", ...args, world().busybox, "sh", "-c", script);
      expect(result.stdout).toBe("shared\n");
      expect(result.stderr).toContain("Read-only file system");
      expect((await mountsOf("second")).map(({ Name, RW }) => [Name, RW])).toEqual([
        [anon, false],
        ["named", false],
      ]);
      await docker("rm", "-v", "first");
      expect((await docker("volume", "ls", "-q")).split("\n")).toContain(anon);
      await docker("rm", "-v", "second");
      expect(await docker("volume", "ls", "-q")).toBe("named");
      const unknown = await attempt("create", "--volumes-from", "nosuch", world().busybox);
      expect(unknown.stderr).toContain("No such container: nosuch");
    });

    test("--mount: binds, volumes with labels and options, tmpfs", async () => {
      const host = fs.mkdtempSync(path.join(dir(), "host-"));
      fs.writeFileSync(path.join(host, "f"), "of the host\n");
      expect(await sh("--mount", `type=bind,src=${host},dst=/h`, world().busybox, "cat", "/h/f")).toBe(
        "of the host",
      );
      const readonly = `type=bind,src=${host},dst=/h,readonly`;
      const refused = await attempt(
        "run",
        "--rm",
        "--network",
        "none",
        "--mount",
        readonly,
        world().busybox,
        "touch",
        "/h/g",
      );
      expect(refused.stderr).toContain("Read-only file system");
      const tmpfs = "type=tmpfs,dst=/t,tmpfs-size=65536,tmpfs-mode=1770";
      const look = "stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'; grep -c ' /t tmpfs' /proc/mounts";
      expect(await sh("--mount", tmpfs, world().busybox, "sh", "-c", look)).toBe("1770\n64\n1");

      const withOptions =
        'type=volume,src=fast,dst=/v,volume-label=a=b,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=128k,uid=7"';
      const seen = "stat -c %u /v; df -k /v | tail -1 | awk '{print $2}'";
      expect(await sh("--mount", withOptions, world().busybox, "sh", "-c", seen)).toBe("7\n128");
      const [volume] = JSON.parse(await docker("volume", "inspect", "fast")) as [{ Mountpoint: string }];
      expect(volume).toMatchObject({ Labels: { a: "b" }, Options: { type: "tmpfs", o: "size=128k,uid=7" } });
      expect(mountsBelow(path.dirname(volume.Mountpoint))).toEqual([]);

      await docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", `device=${host}`, "bound");
      expect(await sh("-v", "bound:/b", world().busybox, "cat", "/b/f")).toBe("of the host");
      await docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/nosuch/x", "lost");
      const lost = await attempt(
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "lost:/b:nocopy",
        world().busybox,
        "true",
      );
      expect(lost.status).not.toBe(0);
      expect(lost.stderr).toMatch(
        /error while mounting volume '.*\/lost\/_data': failed to mount local volume: mount \/nosuch\/x:.*no such file or directory/,
      );
      const odd = await attempt("volume", "create", "-o", "foo=bar", "odd");
      expect(odd.stderr).toContain('create odd: invalid option: "foo"');
    });

    test("what makes no sense is refused in Docker's words", async () => {
      const cases: [string[], string][] = [
        [["-v", "aa:/x", "-v", "bb:/x"], "Duplicate mount point: /x"],
        [["-v", "aa:/x", "--tmpfs", "/x"], "Duplicate mount point: /x"],
        [["-v", "aa:/x", "--mount", "src=bb,dst=/x"], "Duplicate mount point: /x"],
        [["--mount", "type=bind,src=/nosuch/y,dst=/x"], "bind source path does not exist: /nosuch/y"],
        [
          ["-v", "rel/path:/x"],
          'create rel/path: "rel/path" includes invalid characters for a local volume name',
        ],
        [["-v", "aa:x"], "invalid mount path: 'x' mount path must be absolute"],
        [["-v", "/tmp:/x:odd"], "invalid mode"],
        [["-v", "aa:/"], "invalid specification: destination can't be '/'"],
        [
          ["--mount", "type=volume,dst=/x,readonly"],
          "must not set ReadOnly mode when using anonymous volumes",
        ],
      ];
      // The original looks for it for half a minute.
      if (!process.env.LONGSHORE_E2E_REFERENCE)
        cases.push([["--volume-driver", "nosuch", "-v", "aa:/x"], 'plugin "nosuch" not found']);
      for (const [args, message] of cases) {
        const { status, stderr } = await attempt("create", ...args, world().busybox, "true");
        expect({ args, stderr }).toEqual({ args, stderr: expect.stringContaining(message) });
        expect(status).not.toBe(0);
      }
      expect(await docker("volume", "ls", "-q")).toBe("");
      const missing = path.join(dir(), `made-${cli.name.replace(/\W/g, "")}`);
      await sh("-v", `${missing}:/x`, world().busybox, "true");
      expect(fs.statSync(missing).isDirectory()).toBe(true);
    });
  });
}
