import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import path from "node:path";
import { type TestEntry, tarBlocks } from "@longshore/archive/testing";
import { eventually } from "@longshore/testkit";
import { api } from "../engine-api.ts";
import { useWorld } from "../world.ts";
import { type HostCanary, hostCanary } from "./host-canary.ts";

// A container exchanges names with links to the host while the daemon copies, exports, commits and compares its files.

const world = useWorld({ pull: ["attacker"] });
const docker = (...args: string[]) => world().docker()(...args);
let canary: HostCanary;

beforeAll(() => {
  canary = hostCanary();
});
afterAll(() => canary[Symbol.dispose]());
afterEach(() => expect(canary.changes()).toEqual([]));

/**
 * Replace each name by a link to a path of the host as soon as something else has the name.
 * @param pairs a name, then where its link leads to
 */
async function attacker(...pairs: string[]): Promise<string> {
  const loop = `my @p = @ARGV; print "ready\\n"; close(STDOUT);
    while (1) {
      for (my $i = 0; $i < @p; $i += 2) {
        my ($name, $trap) = ($p[$i], "/data/trap$i");
        if (!-l $trap) { unlink($trap) or rmdir($trap); symlink($p[$i + 1], $trap) }
        syscall(316, -100, $name, -100, $trap, 2) if !-l $name;
      }
    }`;
  const id = await docker("run", "-d", world().attacker, "perl", "-e", loop, ...pairs);
  await eventually(async () => (await docker("logs", id)).includes("ready"));
  return id;
}

test("cp into a running container changes no file of the host", async () => {
  const secret = path.join(canary.dir, "secret");
  const id = await attacker("/data/made-d", canary.dir, "/data/made-p", secret, "/data/made-f", secret);
  const entries: TestEntry[] = [
    { name: "made-d/", type: "5", mode: 0o6777, uid: 7 },
    { name: "made-p", type: "6", mode: 0o6777, uid: 7 },
    { name: "made-f", content: "x", mode: 0o6777, uid: 7 },
  ];
  const tar = Buffer.concat([...entries.map(tarBlocks), Buffer.alloc(1024)]);
  for (let n = 0; n < 300; n++) {
    const url = `http://docker/containers/${id}/archive?path=/data&copyUIDGID=true`;
    const unix = world().engine.suite.paths.dockerSocket;
    const response = await fetch(url, { method: "PUT", body: tar, unix });
    await response.arrayBuffer();
    if (n % 20 === 0 && canary.changes().length > 0) break;
  }
  await docker("rm", "-f", id);
});

test("cp out of a running container, export, commit and diff show no file of the host", async () => {
  const setup = "mkdir /data/d; echo own >/data/d/secret; echo own >/data/f";
  const loop = `my @p = @ARGV; print "ready\\n"; close(STDOUT);
    while (1) { for (my $i = 0; $i < @p; $i += 2) { syscall(316, -100, $p[$i], -100, $p[$i + 1], 2) } }`;
  const links = `ln -s ${canary.dir} /data/l; ln -s ${canary.dir}/secret /data/m`;
  const command = `${setup}; ${links}; exec perl -e '${loop}' /data/d /data/l /data/f /data/m`;
  const id = await docker("run", "-d", world().attacker, "sh", "-c", command);
  await eventually(async () => (await docker("logs", id)).includes("ready"));
  const unix = world().engine.suite.paths.dockerSocket;
  const bytes = async (url: string) =>
    Buffer.from(await (await fetch(`http://docker${url}`, { unix })).arrayBuffer());
  for (let n = 0; n < 60; n++) {
    for (const name of ["", "/d", "/f", "/d/secret"])
      expect((await bytes(`/containers/${id}/archive?path=/data${name}`)).includes(canary.secret)).toBe(
        false,
      );
  }
  for (let n = 0; n < 3; n++) {
    const exported = await bytes(`/containers/${id}/export`);
    expect(exported.includes(canary.secret)).toBe(false);
    const changes = await api(world(), "GET", `/containers/${id}/changes`);
    expect(changes.body).not.toContain("/data/l/program");
    const commit = await api(world(), "POST", `/commit?container=${id}&repo=raced&tag=${n}&pause=0`, "{}");
    // A file that is exchanged while the layer is made may end the commit.
    if (commit.status !== 201) continue;
    const found = `grep -r ${canary.secret} /data || echo nothing`;
    expect(await docker("run", "--rm", `raced:${n}`, "sh", "-c", found)).toBe("nothing");
  }
  await docker("rm", "-f", id);
});
