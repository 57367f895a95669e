import { describe, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { output, startRegistry, tempDir } from "@longshore/testkit";
import { clis, useWorld } from "./world.ts";

const world = useWorld({ pull: ["busybox", "debian"] });

describe.each(clis)("registries by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const attempt = (...args: string[]) => world().docker(cli).run(args);
  const fresh = (name: string) => `${world().registry}/${name}-${crypto.randomBytes(4).toString("hex")}`;

  test("push: an image goes up, is pulled again with the same digest, and what is there isn't sent again", async () => {
    const { debian } = world();
    const repository = fresh("pushed");
    await docker("tag", debian, `${repository}:1`);
    const pushed = await docker("push", `${repository}:1`);
    expect(pushed).toContain(`The push refers to repository [${repository}]`);
    expect(pushed).toMatch(/^[0-9a-f]{12}: (Pushed|Layer already exists|Mounted from base\/debian)$/m);
    const [, digest = ""] = /^1: digest: (sha256:[0-9a-f]{64}) size: \d+$/m.exec(pushed) ?? [];
    const again = await docker("push", `${repository}:1`);
    expect(again).toContain(": Layer already exists");
    expect(again).not.toContain(": Pushed");
    await docker("rmi", `${repository}:1`);
    expect(await docker("pull", `${repository}:1`)).toContain(`Digest: ${digest}`);
    if (findExecutable("skopeo")) {
      const inspect = ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}"];
      expect(await output([...inspect, `docker://${repository}:1`])).toBe(digest);
    }
    await docker("rmi", `${repository}:1`);
  });

  test("push of a changed image, and of all tags", async () => {
    const { busybox } = world();
    const repository = fresh("many");
    const container = await docker("create", busybox, "true");
    await docker("commit", "-c", "CMD echo changed", container, `${repository}:a`);
    await docker("rm", container);
    await docker("tag", busybox, `${repository}:b`);
    const pushed = await docker("push", "-a", repository);
    expect(pushed).toMatch(/^a: digest: /m);
    expect(pushed).toMatch(/^b: digest: /m);
    await docker("rmi", `${repository}:a`, `${repository}:b`);
    expect(await docker("run", "--rm", `${repository}:a`)).toBe("changed");
    await docker("rmi", `${repository}:a`);
  });

  test("pull -a brings all tags of a repository", async () => {
    const { busybox } = world();
    const repository = fresh("all");
    for (const tag of ["one", "two"]) {
      await docker("tag", busybox, `${repository}:${tag}`);
      await docker("push", `${repository}:${tag}`);
      await docker("rmi", `${repository}:${tag}`);
    }
    const pulled = await docker("pull", "-a", repository);
    expect(pulled).toMatch(/^one: Pulling from /m);
    expect(pulled).toMatch(/^two: Pulling from /m);
    const tags = await docker("images", "--format", "{{.Tag}}", repository);
    expect(tags.split("\n").sort()).toEqual(["one", "two"]);
    await docker("rmi", `${repository}:one`, `${repository}:two`);
    const refused = await attempt("pull", "-a", `${repository}:one`);
    expect(refused.stderr).toContain("tag can't be used with --all-tags/-a");
    expect((await attempt("pull", "-a", fresh("absent"))).status).toBe(1);
  });

  // Docker 20.10 knows no OCI manifests here.
  test.skipIf(cli.ours || cli.name.includes(" 20."))(
    "manifest inspect shows what the registry has",
    async () => {
      const env = { DOCKER_CLI_EXPERIMENTAL: "enabled" };
      const inspect = ["manifest", "inspect", "--insecure", world().debian];
      const { stdout } = await world().docker(cli).run(inspect, { env });
      expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 2, layers: [{}, {}, {}] });
    },
  );

  test("push of what isn't here is refused in Docker's words", async () => {
    const refused = await attempt("push", `${world().registry}/never/made:1`);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain(
      `An image does not exist locally with the tag: ${world().registry}/never/made`,
    );
  });

  test("search finds repositories of a registry by its catalog", async () => {
    const found = await docker("search", "--format", "{{.Name}}", `${world().registry}/debian`);
    expect(found.split("\n")).toContain(`${world().registry}/base/debian`);
    const names = async (...args: string[]) =>
      (await docker("search", "--format", "{{.Name}}", ...args, `${world().registry}/base`))
        .split("\n")
        .filter(Boolean);
    expect((await names()).length).toBeGreaterThan(1);
    expect(await names("--limit", "1")).toHaveLength(1);
    expect(await names("-f", "stars=1")).toEqual([]);
    expect(await names("-f", "is-official=true")).toEqual([]);
    expect((await names("-f", "is-official=false")).length).toBeGreaterThan(1);
    const wrong = await world().docker(cli).run(["search", "-f", "colour=red", "x"]);
    expect(wrong.status).toBe(1);
    expect(wrong.stderr).toContain("invalid filter 'colour'");
  });

  test("login: wrong and right passwords; push and pull with what is kept; logout", async () => {
    using dir = tempDir();
    await using registry = await startRegistry(dir.path, { users: { me: "secret" } });
    if (!registry) throw new Error("docker-registry is not installed");
    const config = path.join(dir.path, "client");
    const env = { DOCKER_CONFIG: config };
    const image = `${registry.host}/mine:1`;
    await docker("tag", world().busybox, image);
    const run = (args: string[], stdin?: string) =>
      world()
        .docker(cli)
        .run(args, { env, ...(stdin !== undefined && { stdin }) });
    try {
      const anonymous = await run(["push", image]);
      expect(anonymous.status).toBe(1);
      expect(anonymous.stderr).toMatch(/no basic auth credentials|unauthorized|authentication required/);
      const wrong = await run(["login", "-u", "me", "--password-stdin", registry.host], "wrong\n");
      expect(wrong.status).toBe(1);
      expect(wrong.stderr).toContain("unauthorized");
      const right = await run(["login", "-u", "me", "--password-stdin", registry.host], "secret\n");
      expect({ status: right.status, stdout: right.stdout.trim() }).toEqual({
        status: 0,
        stdout: "Login Succeeded",
      });
      const kept = JSON.parse(fs.readFileSync(path.join(config, "config.json"), "utf8"));
      expect(kept.auths[registry.host].auth).toBe(Buffer.from("me:secret").toString("base64"));
      expect((await run(["push", image])).status).toBe(0);
      await docker("rmi", image);
      expect((await run(["pull", image])).status).toBe(0);
      expect((await run(["logout", registry.host])).stdout).toContain(
        `Removing login credentials for ${registry.host}`,
      );
      expect((await run(["push", image])).status).toBe(1);
    } finally {
      await attempt("rmi", image);
    }
  });
});

test("what a registry has of a name can be asked for without pulling it", async () => {
  const name = encodeURIComponent(world().debian);
  const answer = await fetch(`http://docker/v1.41/distribution/${name}/json`, {
    unix: world().engine.suite.paths.dockerSocket,
  });
  expect(await answer.json()).toMatchObject({
    Descriptor: { digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/), size: expect.any(Number) },
  });
});
