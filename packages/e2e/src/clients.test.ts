import { expect, test } from "bun:test";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { run } from "@longshore/testkit";
import { ours, skipped, useWorld } from "./world.ts";

const world = useWorld();
const tsx = path.resolve(import.meta.dir, "../../tooling/bin/tsx");

/** Run a program that uses the engine through a library of its own; it says what failed. */
async function runsThrough(argv: string[], env: Record<string, string> = {}): Promise<void> {
  const { dockerHost } = world().engine.suite;
  const result = await run(argv, {
    env: { DOCKER_HOST: dockerHost, DOCKER_CONFIG: path.join(world().engine.dir, "client"), ...env },
    timeoutMs: 110_000,
  });
  expect(result.stdout.trimEnd().split("\n").at(-1), result.stdout + result.stderr).toBe("done");
  expect(result.status).toBe(0);
  expect(await world().docker()("ps", "-aq")).toBe("");
  expect(await world().docker()("volume", "ls", "-q")).toBe("");
  expect(await world().engine.leaks()).toEqual([]);
}

test("dockerode's usual scenarios", async () => {
  const { dockerSocket } = world().engine.suite.paths;
  await runsThrough([tsx, path.join(import.meta.dir, "clients/dockerode.ts"), dockerSocket, world().busybox]);
});

test("testcontainers' usual scenarios", async () => {
  // Its helper that removes what a test leaves is an image of Docker Hub's.
  const env = { TESTCONTAINERS_RYUK_DISABLED: "true" };
  await runsThrough([tsx, path.join(import.meta.dir, "clients/testcontainers.ts"), world().busybox], env);
});

test("docker system dial-stdio is a connection to the engine", async () => {
  const stdin = "GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
  const { status, stdout } = await world().docker(ours).run(["system", "dial-stdio"], { stdin });
  expect(status).toBe(0);
  expect(stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n(.*\r\n)+\r\nOK$/);
});

/** What programs do with docker-py. */
const DOCKER_PY = `
import io, os, sys, tarfile, docker
image = sys.argv[1]
client = docker.from_env()
print("system")
assert client.ping() is True
assert client.version()["Os"] == "linux"
assert client.info()["Swarm"]["LocalNodeState"] == "inactive"
assert "LayersSize" in client.df()
print("run")
assert client.containers.run(image, ["echo", "hi"], remove=True, network_mode="none") == b"hi\\n"
try:
    client.containers.run(image, ["sh", "-c", "echo bad >&2; exit 5"], remove=True, network_mode="none")
    raise SystemExit("no error")
except docker.errors.ContainerError as error:
    assert error.exit_status == 5 and error.stderr == b"bad\\n", error
print("a container's life")
c = client.containers.run(image, ["sh", "-c", "trap 'exit 2' TERM; echo ready; while :; do usleep 20000; done"],
    detach=True, name="py", labels={"py": "1"}, environment={"A": "b"}, mem_limit="64m", ports={"80/tcp": ("127.0.0.1", None)},
    tmpfs={"/fast": "size=64k"}, hostname="pyhost", cap_add=["NET_ADMIN"], ulimits=[docker.types.Ulimit(name="nofile", soft=512, hard=512)])
assert [x.name for x in client.containers.list(filters={"label": "py=1"})] == ["py"]
c.reload()
assert c.status == "running" and c.attrs["HostConfig"]["Memory"] == 64 << 20
assert c.ports["80/tcp"][0]["HostIp"] == "127.0.0.1"
code, (out, err) = c.exec_run(["sh", "-c", "hostname; echo $A; ulimit -n; echo err >&2; exit 4"], demux=True)
assert (code, out, err) == (4, b"pyhost\\nb\\n512\\n", b"err\\n"), (code, out, err)
assert b"".join(c.exec_run("echo streamed", stream=True).output) == b"streamed\\n"
socket = client.api.exec_start(client.api.exec_create(c.id, ["cat"], stdin=True)["Id"], socket=True)
socket._sock.sendall(b"through\\n")
frame = b""
while len(frame) < 16: frame += socket._sock.recv(100)
assert frame[8:] == b"through\\n", frame
socket._sock.close()
line = next(c.logs(stream=True, follow=True))
assert line == b"ready\\n", line
data = io.BytesIO()
with tarfile.open(fileobj=data, mode="w") as tar:
    info = tarfile.TarInfo("put"); info.size = 3
    tar.addfile(info, io.BytesIO(b"abc"))
assert c.put_archive("/tmp", data.getvalue())
bits, stat = c.get_archive("/tmp/put")
assert stat["size"] == 3 and tarfile.open(fileobj=io.BytesIO(b"".join(bits))).extractfile("put").read() == b"abc"
assert {"Path": "/tmp/put", "Kind": 1} in c.diff()
assert c.stats(stream=False)["memory_stats"]["usage"] > 0
assert next(c.stats(decode=True))["name"] == "/py"
assert c.top()["Titles"][0] == "UID"
committed = c.commit("py/committed", tag="1", author="me", message="why")
assert committed.attrs["Author"] == "me" and committed.history()[0]["Comment"] == "why"
client.images.remove("py/committed:1")
c.pause(); c.reload(); assert c.status == "paused"; c.unpause()
c.rename("py2"); c.update(cpu_shares=256)
c.stop(timeout=5)
assert c.wait()["StatusCode"] == 2
c.start(); c.kill("KILL"); assert c.wait()["StatusCode"] == 137
c.restart(); c.remove(v=True, force=True)
print("networks and volumes")
net = client.networks.create("pynet", labels={"a": "b"})
vol = client.volumes.create("pyvol")
server = client.containers.run(image, ["sh", "-c", "echo here > /v/index.html; exec httpd -f -p 80 -h /v"], detach=True, network="pynet",
    name="pyserver", volumes={"pyvol": {"bind": "/v", "mode": "rw"}})
script = "for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://pyserver/ && exit; sleep 0.2; done; exit 1"
assert client.containers.run(image, ["sh", "-c", script], network="pynet", remove=True) == b"here\\n"
net.reload(); assert [x.name for x in net.containers] == ["pyserver"]
other = client.networks.create("pyother"); other.connect(server, aliases=["x"]); other.disconnect(server)
server.remove(force=True); net.remove(); other.remove(); vol.remove()
print("images")
mine = client.images.get(image); mine.tag("py/mine", "2")
saved = b"".join(client.images.get("py/mine:2").save(named="py/mine:2"))
client.images.remove("py/mine:2")
assert [t for i in client.images.load(saved) for t in i.tags if t == "py/mine:2"]
client.images.remove("py/mine:2")
assert client.images.get_registry_data(image).id.startswith("sha256:")
repository, tag = image.rsplit(":", 1)
assert client.images.pull(repository, tag=tag).id == mine.id
print("refusals")
for ask, kind in [(lambda: client.containers.get("nobody"), docker.errors.NotFound), (lambda: client.images.get("no/such"), docker.errors.ImageNotFound)]:
    try:
        ask(); raise SystemExit("no error")
    except kind: pass
for kind in (client.containers, client.networks, client.volumes): kind.prune()
client.images.prune()
print("done")
`;
const python = findExecutable("python3");
const hasDockerPy = python !== undefined && Bun.spawnSync([python, "-c", "import docker"]).exitCode === 0;
if (!hasDockerPy) skipped("docker-py: python3-docker is not installed");
test.skipIf(!hasDockerPy)("docker-py's usual scenarios", async () => {
  await runsThrough([python ?? "", "-c", DOCKER_PY, world().busybox]);
});
