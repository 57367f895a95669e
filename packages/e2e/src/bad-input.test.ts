import { describe, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { blobOf, type ImageServerOptions, makeImage, serveImages } from "@longshore/suite";
import { freePort, tempDir } from "@longshore/testkit";
import { api } from "./engine-api.ts";
import { clis, useWorld } from "./world.ts";

const world = useWorld();

async function nothingLeft(): Promise<void> {
  expect(await world().docker()("ps", "-aq")).toBe("");
  expect(await world().engine.leaks()).toEqual([]);
}

describe.each(clis)("refused through $name", (cli) => {
  const run = (...args: string[]) => world().docker(cli).run(args);

  test("a command that isn't in the image: 127 and Docker's words", async () => {
    const { status, stdout, stderr } = await run("run", "--rm", world().busybox, "no-such-command");
    expect({ status, stdout }).toEqual({ status: 127, stdout: "" });
    expect(stderr).toContain('exec: "no-such-command": executable file not found in $PATH');
    const absolute = await run("run", "--rm", world().busybox, "/no/such/command");
    expect(absolute.status).toBe(127);
    expect(absolute.stderr).toContain(
      'exec: "/no/such/command": stat /no/such/command: no such file or directory',
    );
    await nothingLeft();
  });

  test("a command that isn't executable: 126", async () => {
    const { status, stderr } = await run("run", "--rm", world().busybox, "/etc/passwd");
    expect(status).toBe(126);
    expect(stderr).toContain('exec: "/etc/passwd": permission denied');
    await nothingLeft();
  });

  test("exec of the same: 127 and 126, and the container goes on", async () => {
    const id = await world().docker(cli)("run", "-d", world().busybox, "sleep", "1000");
    expect((await run("exec", id, "no-such-command")).status).toBe(127);
    expect((await run("exec", id, "/etc/passwd")).status).toBe(126);
    expect(await world().docker(cli)("exec", id, "echo", "still here")).toBe("still here");
    await world().docker(cli)("rm", "-f", id);
    await nothingLeft();
  });

  test("an image that the registry doesn't have", async () => {
    const name = `${world().registry}/base/nothing:1`;
    const pulled = await run("pull", name);
    expect(pulled.status).toBe(1);
    expect(pulled.stderr).toMatch(/manifest unknown|not found|repository name not known/);
    const started = await run("run", "--rm", name);
    expect(started.status).toBe(125);
    await nothingLeft();
  });

  test("a name that is taken", async () => {
    const id = await world().docker(cli)("run", "-d", "--name", "taken", world().busybox, "sleep", "1000");
    const { status, stderr } = await run("run", "-d", "--name", "taken", world().busybox, "true");
    expect(status).toBe(125);
    expect(stderr).toContain(
      `Conflict. The container name "/taken" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
    await world().docker(cli)("rm", "-f", "taken");
    await nothingLeft();
  });

  test("a container that doesn't exist", async () => {
    for (const command of [["stop"], ["rm"], ["logs"], ["start"]]) {
      const { status, stderr } = await run(...command, "nobody");
      expect(status).toBe(1);
      expect(stderr).toContain("No such container: nobody");
    }
    const exec = await run("exec", "nobody", "true");
    expect(exec.status).toBe(1);
    expect(exec.stderr).toContain("No such container: nobody");
  });
});

describe("refused by the Engine API", () => {
  const create = (name: string, body: string) =>
    api(world(), "POST", `/v1.41/containers/create?name=${name}`, body);

  test("malformed bodies: 400", async () => {
    for (const body of ["{", "[]", "nonsense", '{"Image": 5}', '{"Cmd": {"a": 1}}']) {
      const { status, message } = await create("malformed", body);
      expect(status).toBe(400);
      expect(message).not.toBe("");
    }
    await nothingLeft();
  });

  test("names that aren't allowed: 400; an image that isn't there: 404; no image: 400", async () => {
    const image = JSON.stringify({ Image: world().busybox });
    const badName = await create("-bad", image);
    expect(badName.status).toBe(400);
    expect(badName.message).toBe("Invalid container name (-bad), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
    const unknown = await create("unknown", JSON.stringify({ Image: "nowhere/nothing:1" }));
    expect(unknown.status).toBe(404);
    expect(unknown.message).toBe("No such image: nowhere/nothing:1");
    await nothingLeft();
  });

  test("a second container of the same name: 409", async () => {
    const body = JSON.stringify({ Image: world().busybox, Cmd: ["true"] });
    expect((await create("twice", body)).status).toBe(201);
    expect((await create("twice", body)).status).toBe(409);
    expect((await api(world(), "DELETE", "/v1.41/containers/twice")).status).toBe(204);
    await nothingLeft();
  });

  test("unknown containers, execs and paths: 404; versions that we don't speak: 400", async () => {
    expect(await api(world(), "GET", "/v1.41/containers/nobody/json")).toMatchObject({
      status: 404,
      message: "No such container: nobody",
    });
    expect((await api(world(), "POST", "/v1.41/exec/nothing/start", "{}")).status).toBe(404);
    expect(await api(world(), "GET", "/v1.41/no/such/path")).toMatchObject({
      status: 404,
      message: "page not found",
    });
    expect((await api(world(), "GET", "/v1.10/containers/json")).status).toBe(400);
    expect((await api(world(), "GET", "/v1.99/containers/json")).status).toBe(400);
  });

  test("a stopped container can't be killed or exec'd into: 409", async () => {
    const docker = world().docker();
    await docker("run", "--name", "over", world().busybox, "true");
    expect((await api(world(), "POST", "/v1.41/containers/over/kill")).status).toBe(409);
    expect((await api(world(), "POST", "/v1.41/containers/over/exec", '{"Cmd":["true"]}')).status).toBe(409);
    await docker("rm", "over");
  });
});

describe("a registry that", () => {
  /** An image whose blobs no engine has, so that they must be fetched. */
  function images() {
    using dir = tempDir();
    fs.writeFileSync(path.join(dir.path, "unique"), crypto.randomUUID());
    return { "bad/image:1": makeImage({ layers: [dir.path], cmd: ["/unique"] }) };
  }

  /** Pull from a registry that misbehaves; nothing of the image may be there afterwards. */
  async function pullFrom(intercept: ImageServerOptions["intercept"], image = images()) {
    await using server = await serveImages({ images: image, ...(intercept && { intercept }) });
    const name = `${server.host}/bad/image`;
    const answer = await api(
      world(),
      "POST",
      `/v1.41/images/create?fromImage=${encodeURIComponent(name)}&tag=1`,
    );
    expect((await api(world(), "GET", `/v1.41/images/${name}:1/json`)).status).toBe(404);
    await nothingLeft();
    return answer;
  }

  test("is down: 500 with the reason", async () => {
    const name = encodeURIComponent(`127.0.0.1:${await freePort()}/bad/image`);
    const { status, message } = await api(world(), "POST", `/v1.41/images/create?fromImage=${name}&tag=1`);
    expect(status).toBe(500);
    expect(message).toContain("connection refused");
  });

  test("answers garbage for a manifest", async () => {
    const { status, message } = await pullFrom((request, response) => {
      if (!request.url?.includes("/manifests/")) return false;
      response
        .writeHead(200, { "content-type": "application/vnd.oci.image.manifest.v1+json" })
        .end("<html>hello</html>");
      return true;
    });
    expect(status).toBe(500);
    expect(message).not.toBe("");
  });

  test("fails in the middle of it: 500s for every blob", async () => {
    const { body } = await pullFrom((request, response) => {
      if (!request.url?.includes("/blobs/")) return false;
      response.writeHead(500).end();
      return true;
    });
    expect(body).toContain('"errorDetail"');
  });

  test("sends other bytes than the digest's: the layer is refused, and not kept", async () => {
    const image = images()["bad/image:1"];
    const layer = image.blobs[1];
    if (!layer) throw new Error("no layer");
    const wrong = Buffer.from(layer.bytes);
    wrong.writeUInt8(wrong.readUInt8(60) ^ 1, 60);
    const flipped = blobOf(wrong);
    const { body } = await pullFrom(
      (request, response) => {
        if (!request.url?.endsWith(layer.digest)) return false;
        response.writeHead(200, { "content-length": flipped.bytes.length }).end(flipped.bytes);
        return true;
      },
      { "bad/image:1": image },
    );
    expect(body).toContain('"errorDetail"');
    expect(body).toMatch(/digest|verification/);
    const store = path.join(
      world().engine.suite.paths.containerdRoot,
      "io.containerd.content.v1.content/blobs/sha256",
    );
    const kept = fs.readdirSync(store);
    expect(kept).not.toContain(layer.digest.slice("sha256:".length));
    expect(kept).not.toContain(flipped.digest.slice("sha256:".length));
  });
});
