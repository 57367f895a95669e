import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { output, realDockerClis, run, tempDir } from "@longshore/testkit";
import { binary } from "./real-engine.ts";
import { makeZip } from "./zip-maker.ts";

test("contexts: create, ls, use, show, inspect, update, rm; Docker's own client reads and writes the same", async () => {
  using dir = tempDir();
  const env = { DOCKER_CONFIG: dir.path, DOCKER_HOST: "", DOCKER_CONTEXT: "" };
  const docker = (...args: string[]) => run([binary, ...args], { env });
  const text = async (...args: string[]) => (await docker(...args)).stdout.trim();

  expect(await text("context", "show")).toBe("default");
  const created = await docker(
    "context",
    "create",
    "far",
    "--docker",
    "host=tcp://127.0.0.1:1",
    "--description",
    "d",
  );
  expect(created).toEqual({ status: 0, stdout: "far\n", stderr: 'Successfully created context "far"\n' });
  expect((await docker("context", "create", "far", "--docker", "host=unix:///x")).stderr).toBe(
    'context "far" already exists\n',
  );
  await docker("context", "create", "near", "--from", "far");
  await docker("context", "update", "near", "--docker", "host=unix:///nobody/there", "--description", "here");
  expect((await docker("context", "use", "near")).stderr).toBe('Current context is now "near"\n');
  const listed = await text(
    "context",
    "ls",
    "--format",
    "{{.Name}} {{.Description}} {{.DockerEndpoint}} {{.Current}}",
  );
  expect(listed.split("\n").slice(1)).toEqual([
    "far d tcp://127.0.0.1:1 ",
    "near here unix:///nobody/there true",
  ]);
  expect(await text("context", "ls")).toMatch(/^near \* +here +unix:\/\/\/nobody\/there/m);
  expect((await docker("ps")).stderr).toContain("unix:///nobody/there");
  expect((await docker("-c", "far", "ps")).stderr).toContain("tcp://127.0.0.1:1");
  expect((await docker("--context", "none", "ps")).stderr).toBe('context "none" does not exist\n');
  expect((await docker("-c", "far", "-H", "unix:///x", "ps")).stderr).toContain("conflicting options");
  const [inspected] = JSON.parse(await text("context", "inspect")) as [Record<string, unknown>];
  expect(inspected).toMatchObject({
    Name: "near",
    Metadata: { Description: "here" },
    Endpoints: { docker: { Host: "unix:///nobody/there", SkipTLSVerify: false } },
  });
  for (const real of realDockerClis()) {
    const theirs = (...args: string[]) => output([real.path, ...args], { env });
    expect((await theirs("context", "ls", "-q")).split("\n")).toEqual(["default", "far", "near"]);
    expect(JSON.parse(await theirs("context", "inspect", "near"))[0]).toMatchObject({
      Metadata: { Description: "here" },
      Endpoints: { docker: { Host: "unix:///nobody/there" } },
    });
    await theirs("context", "create", "made", "--docker", "host=unix:///made");
    expect(await text("context", "inspect", "-f", "{{.Endpoints.docker.Host}}", "made")).toBe("unix:///made");
    await theirs("context", "rm", "made");
  }
  expect(await docker("context", "rm", "near")).toMatchObject({
    status: 1,
    stderr: 'context "near" is in use, set -f flag to force remove\n',
  });
  await docker("context", "rm", "-f", "near", "far");
  expect(await text("context", "ls", "-q")).toBe("default");
  expect(await text("context", "show")).toBe("default");
});

test("contexts: export and import, with certificates; the archives are those of Docker's own client", async () => {
  using dir = tempDir();
  const env = { DOCKER_CONFIG: dir.path, DOCKER_HOST: "", DOCKER_CONTEXT: "" };
  const docker = (...args: string[]) => run([binary, ...args], { env });
  const text = async (...args: string[]) => (await docker(...args)).stdout.trim();
  await docker("context", "create", "far", "--docker", "host=tcp://127.0.0.1:1", "--description", "d");
  // With certificates that Docker's own client would have put there.
  const id = new Bun.CryptoHasher("sha256").update("far").digest("hex");
  const tls = path.join(dir.path, "contexts/tls", id, "docker");
  fs.mkdirSync(tls, { recursive: true });
  fs.writeFileSync(path.join(tls, "ca.pem"), "no certificate");
  const file = path.join(dir.path, "far.tar");
  expect(await docker("context", "export", "far", file)).toEqual({
    status: 0,
    stdout: "",
    stderr: `Written file ${JSON.stringify(file)}\n`,
  });
  expect((await docker("context", "export", "far", file)).stderr).toBe(`open ${file}: file exists\n`);
  expect(await docker("context", "import", "again", file)).toEqual({
    status: 0,
    stdout: "again\n",
    stderr: 'Successfully imported context "again"\n',
  });
  expect((await docker("context", "import", "again", file)).stderr).toBe('context "again" already exists\n');
  const host = ["context", "inspect", "-f", "{{.Name}} {{.Endpoints.docker.Host}}"];
  expect(await text(...host, "again")).toBe((await text(...host, "far")).replace("far", "again"));
  const copied = new Bun.CryptoHasher("sha256").update("again").digest("hex");
  const copy = path.join(dir.path, "contexts/tls", copied, "docker/ca.pem");
  expect(fs.readFileSync(copy, "utf8")).toBe("no certificate");
  fs.writeFileSync(path.join(dir.path, "none.tar"), Buffer.alloc(1024));
  expect((await docker("context", "import", "bad", path.join(dir.path, "none.tar"))).stderr).toBe(
    "invalid context: no metadata found\n",
  );
  const list = path.join(dir.path, "list");
  fs.mkdirSync(list);
  fs.writeFileSync(path.join(list, "meta.json"), "[]");
  expect(Bun.spawnSync(["tar", "-cf", `${list}.tar`, "-C", list, "meta.json"]).exitCode).toBe(0);
  expect((await docker("context", "import", "bad", `${list}.tar`)).stderr).toBe(
    "invalid context: its metadata is no object\n",
  );
  const zipped = path.join(dir.path, "far.zip");
  const meta = JSON.stringify({ Name: "x", Metadata: {}, Endpoints: { docker: { Host: "tcp://zip:1" } } });
  const files = [
    { name: "meta.json", content: meta, deflate: true },
    { name: "tls/", content: "", mode: 0o40700 },
    { name: "tls/docker/ca.pem", content: "zipped" },
  ];
  fs.writeFileSync(zipped, makeZip(files));
  const outside = path.join(dir.path, "outside.zip");
  fs.writeFileSync(outside, makeZip([...files, { name: "other/x", content: "" }]));
  for (const [name, client] of [
    ["unzipped", binary],
    ...realDockerClis().map((real, i) => [`unzipped${i}`, real.path] as const),
  ] as const) {
    expect((await run([client, "context", "import", name, zipped], { env })).stdout).toBe(`${name}\n`);
    expect(await text(...host, name)).toBe(`${name} tcp://zip:1`);
    const own = new Bun.CryptoHasher("sha256").update(name).digest("hex");
    const ca = path.join(dir.path, "contexts/tls", own, "docker/ca.pem");
    expect(fs.readFileSync(ca, "utf8")).toBe("zipped");
    await docker("context", "rm", name);
    const refused = await run([client, "context", "import", name, outside], { env });
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringMatching(/unexpected context file\n$/) });
  }
  fs.writeFileSync(zipped, fs.readFileSync(zipped).subarray(0, 100));
  expect((await docker("context", "import", "bad", zipped)).stderr).toBe(
    "invalid context: zip: not a valid zip file\n",
  );
  for (const real of realDockerClis()) {
    const theirs = (...args: string[]) => output([real.path, ...args], { env });
    await theirs("context", "import", "theirs", file);
    expect(await text(...host, "theirs")).toContain("theirs tcp://");
    await theirs("context", "export", "again", path.join(dir.path, "theirs.tar"));
    expect((await docker("context", "import", "back", path.join(dir.path, "theirs.tar"))).status).toBe(0);
    fs.rmSync(path.join(dir.path, "theirs.tar"));
    await docker("context", "rm", "theirs", "back");
  }
  await docker("context", "rm", "again");
});

test("what a context can't be is refused; so are commands of the original's that are not here", async () => {
  using dir = tempDir();
  const env = { DOCKER_CONFIG: dir.path, DOCKER_HOST: "", DOCKER_CONTEXT: "" };
  const refusal = async (...args: string[]) => {
    const { status, stderr } = await run([binary, ...args], { env });
    expect(status).toBe(1);
    return stderr;
  };
  expect(await refusal("context", "create", "a/b", "--docker", "host=unix:///x")).toContain("is invalid");
  expect(await refusal("context", "create", "default", "--docker", "host=unix:///x")).toContain("reserved");
  expect(await refusal("context", "create", "tls", "--docker", "ca=x")).toContain("ca is not supported");
  expect(await refusal("context", "create", "ssh", "--docker", "host=ssh://x")).toContain("ssh://");
  expect(await refusal("context", "create", "none")).toContain("docker endpoint configuration is required");
  expect(await refusal("context", "rm", "nobody")).toBe('context "nobody" does not exist\n');
  for (const command of ["build", "service ls", "volume update v", "image build ."]) {
    const stderr = await refusal(...command.split(" "));
    expect(stderr).toMatch(/^docker: 'docker .*' is not supported by this client\n$/);
  }
});
