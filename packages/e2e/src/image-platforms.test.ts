import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually, output, tempDir } from "@longshore/testkit";
import { archiveAttested, attestedImage, pushAttested } from "./attested-image.ts";
import { ours, useWorld } from "./world.ts";

const world = useWorld({ pull: [] });
const image = attestedImage();
const { index, amd64, arm64, attestation } = image;
const idOf = ({ blobs }: { blobs: { digest: string }[] }) => blobs[0]?.digest;
const manifests = [amd64, arm64, attestation].map(({ manifest }) => manifest.digest);
const json = (architecture: string) => JSON.stringify({ os: "linux", architecture });
const LOCAL = "platforms:1";

let remote: string;
beforeAll(async () => {
  remote = `${world().registry}/several:1`;
  await pushAttested(world().registry, "several", "1", image);
});

afterEach(async () => {
  const left = (await world().docker()("images", "-aq", "--no-trunc")).split("\n").filter(Boolean);
  if (left.length > 0) await world().docker()("rmi", "-f", ...new Set(left));
});

interface Call {
  method?: string;
  version?: string;
  query?: [string, string][];
  body?: Uint8Array;
}

/** A request to the API, and its answer: JSON, the last of several lines, or bytes. */
async function call(target: string, { method = "GET", version = "1.55", query = [], body }: Call = {}) {
  const words = new URLSearchParams(query);
  const answer = await fetch(`http://docker/v${version}${target}?${words}`, {
    method,
    unix: world().engine.suite.paths.dockerSocket,
    ...(body && { body }),
  });
  const bytes = Buffer.from(await answer.arrayBuffer());
  const lines = bytes.toString().trim().split("\n");
  const isJson = answer.headers.get("content-type") === "application/json";
  return { status: answer.status, bytes, json: isJson ? JSON.parse(lines.at(-1) ?? "") : undefined };
}

/** All of the image, from an archive. */
async function load(query: [string, string][] = [], version = "1.55") {
  using dir = tempDir();
  const file = path.join(dir.path, "image.tar");
  await archiveAttested(file, `docker.io/library/${LOCAL}`, image);
  return call("/images/load", { method: "POST", body: fs.readFileSync(file), query, version });
}

const present = (shown: { ID: string; Available: boolean }[]) =>
  shown.filter(({ Available }) => Available).map(({ ID }) => ID);

test("a pulled index: its descriptor, its manifests, which of them are here, and where it comes from", async () => {
  await world().docker()("pull", "-q", remote);
  const { json: shown } = await call(`/images/${remote}/json`, { query: [["manifests", "1"]] });
  expect(shown.Id).toBe(String(idOf(amd64)));
  expect(shown.Descriptor).toEqual({
    mediaType: "application/vnd.oci.image.index.v1+json",
    digest: index.digest,
    size: index.bytes.length,
  });
  const [own, other, attesting] = shown.Manifests;
  expect(shown.Manifests.map(({ ID }: { ID: string }) => ID)).toEqual(manifests);
  expect(own).toMatchObject({
    Kind: "image",
    Available: true,
    ImageData: { Platform: { os: "linux", architecture: "amd64" }, Containers: null },
  });
  const content = amd64.manifest.bytes.length + amd64.blobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
  expect(own.Size.Content).toBe(content);
  expect(own.Size.Total).toBe(content + own.ImageData.Size.Unpacked);
  expect(own.ImageData.Size.Unpacked).toBeGreaterThan(0);
  expect(other).toMatchObject({ Kind: "image", Available: false, Size: { Content: 0, Total: 0 } });
  // What attests the image has come with it.
  expect(attesting).toMatchObject({
    Kind: "attestation",
    Available: true,
    AttestationData: { For: amd64.manifest.digest },
  });
  expect(Date.now() - Date.parse(shown.Metadata.LastTagTime)).toBeLessThan(60_000);
  expect(shown.Identity).toEqual({ Pull: [{ Repository: "127.0.0.1/several" }] });
  const listed = await call("/images/json", {
    query: [
      ["manifests", "1"],
      ["identity", "1"],
    ],
  });
  expect(listed.json[0].Descriptor).toEqual(shown.Descriptor);
  expect(listed.json[0].Manifests[0].ImageData.Identity).toEqual(shown.Identity);
  expect(listed.json[0].Manifests[1].ImageData).not.toHaveProperty("Identity");
});

test("save of no names is an archive of no images", async () => {
  const { status, bytes } = await call("/images/get");
  using dir = tempDir();
  const file = path.join(dir.path, "none.tar");
  fs.writeFileSync(file, bytes);
  expect([status, JSON.parse(await output(["tar", "-xOf", file, "index.json"])).manifests]).toEqual([
    200,
    [],
  ]);
});

test("Containers is how many containers an image has since 1.51, and which they are in its manifests", async () => {
  await load();
  const { stdout } = await world().docker().run(["create", LOCAL]);
  const count = async (version: string) => (await call("/images/json", { version })).json[0].Containers;
  expect([await count("1.50"), await count("1.51")]).toEqual([-1, 1]);
  const { json: shown } = await call(`/images/${LOCAL}/json`, { query: [["manifests", "1"]] });
  expect(shown.Manifests[0].ImageData.Containers).toEqual([stdout.trim()]);
  await world().docker()("rm", stdout.trim());
});

describe("the image of one platform", () => {
  const lacking = (shown = LOCAL) =>
    `image with reference ${shown} was found but does not provide the specified platform (linux/s390x)`;

  test("inspect and history show it, from 1.49 and 1.48 on", async () => {
    await load();
    const query: [string, string][] = [["platform", json("arm64")]];
    const { json: shown } = await call(`/images/${LOCAL}/json`, { query });
    expect(shown).toMatchObject({ Id: idOf(arm64), Architecture: "arm64", Variant: "v8", RepoTags: [LOCAL] });
    expect(shown.Descriptor.digest).toBe(arm64.manifest.digest);
    expect((await call(`/images/${LOCAL}/json`, { query, version: "1.48" })).json.Id).toBe(
      String(idOf(amd64)),
    );
    const history = async (version: string) =>
      (await call(`/images/${LOCAL}/history`, { query, version })).json[0].Id;
    expect([await history("1.47"), await history("1.48")]).toEqual([
      String(idOf(amd64)),
      String(idOf(arm64)),
    ]);
    for (const what of ["json", "history"]) {
      const refused = await call(`/images/${LOCAL}/${what}`, { query: [["platform", json("s390x")]] });
      expect([refused.status, refused.json.message]).toEqual([404, lacking()]);
    }
    const both = await call(`/images/${LOCAL}/json`, { query: [...query, ["manifests", "1"]] });
    expect([both.status, both.json.message]).toEqual([
      400,
      "conflicting options: manifests and platform options cannot both be set",
    ]);
  });

  test("save takes it alone, or an index with several since 1.52", async () => {
    await load();
    using dir = tempDir();
    const saved = async (...architectures: string[]) => {
      const query = architectures.map((one): [string, string] => ["platform", json(one)]);
      const answer = await call(`/images/${LOCAL}/get`, { query });
      const file = path.join(dir.path, "saved.tar");
      fs.writeFileSync(file, answer.bytes);
      const blobs = (await output(["tar", "-tf", file])).split("\n");
      const first = JSON.parse(await output(["tar", "-xOf", file, "index.json"])).manifests[0].digest;
      const has = ({ digest }: { digest: string }) => blobs.includes(`blobs/${digest.replace(":", "/")}`);
      return [first, ...[amd64, arm64, attestation].map(({ manifest }) => has(manifest))];
    };
    expect(await saved("arm64")).toEqual([arm64.manifest.digest, false, true, false]);
    expect(await saved("amd64", "s390x")).toEqual([index.digest, true, false, true]);
    expect(await saved()).toEqual([index.digest, true, true, true]);
    const refused = await call(`/images/${LOCAL}/get`, { query: [["platform", json("s390x")]] });
    expect([refused.status, refused.json.message]).toEqual([
      404,
      `no suitable export target found: ${lacking()}`,
    ]);
  });

  test("load takes only that out of an archive", async () => {
    const none = await load([["platform", json("s390x")]]);
    expect([none.status, none.json.error]).toEqual([
      200,
      "no images providing the requested platform(s) found: [linux/s390x]",
    ]);
    expect((await call("/images/json")).json).toEqual([]);
    expect((await load([["platform", json("arm64")]])).json).toEqual({ stream: `Loaded image: ${LOCAL}\n` });
    // The rest is collected as soon as nothing holds it.
    await eventually(async () => {
      const { json: shown } = await call(`/images/${LOCAL}/json`, { query: [["manifests", "1"]] });
      return shown.Id === idOf(arm64) && Bun.deepEquals(present(shown.Manifests), [arm64.manifest.digest]);
    });
  });

  test("push sends its manifest in place of the index; without one, what is here of an index is told", async () => {
    await load();
    const push = async (tag: string, query: [string, string][]) => {
      await world().docker()("tag", LOCAL, `${world().registry}/pushed:${tag}`);
      const target = `/images/${world().registry}/pushed/push`;
      const { bytes } = await call(target, { method: "POST", query: [["tag", tag], ...query] });
      const head = await fetch(`http://${world().registry}/v2/pushed/manifests/${tag}`, {
        headers: {
          accept: "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json",
        },
      });
      return { text: bytes.toString(), digest: head.headers.get("docker-content-digest") };
    };
    expect((await push("arm", [["platform", json("arm64")]])).digest).toBe(arm64.manifest.digest);
    expect((await push("all", [])).digest).toBe(index.digest);
    expect((await push("none", [["platform", json("s390x")]])).text).toContain(
      lacking(`${world().registry}/pushed:none`),
    );
    await world().docker()(
      "rmi",
      LOCAL,
      ...["arm", "all", "none"].map((tag) => `${world().registry}/pushed:${tag}`),
    );
    await world().docker()("pull", "-q", remote);
    await world().docker()("tag", remote, LOCAL);
    const part = await push("part", []);
    expect(part.digest).toBe(amd64.manifest.digest);
    const aux = part.text.split("\n").find((line) => line.includes("manifestPushedInsteadOfIndex"));
    expect(JSON.parse(aux ?? "{}").aux).toMatchObject({
      manifestPushedInsteadOfIndex: true,
      originalIndex: { digest: index.digest },
      selectedManifest: { digest: amd64.manifest.digest },
    });
  });

  test("rm takes away what is here for it, by force only, and the names with the last", async () => {
    await load();
    const remove = async (architecture: string, force: string) => {
      const query: [string, string][] = [
        ["platforms", json(architecture)],
        ["force", force],
      ];
      const { status, json: answer } = await call(`/images/${LOCAL}`, { method: "DELETE", query });
      return [status, answer.message ?? answer];
    };
    expect(await remove("amd64", "0")).toEqual([
      400,
      "Content will be removed from all images referencing this variant. Use —-force to force delete.",
    ]);
    expect(await remove("s390x", "1")).toEqual([
      404,
      `failed to delete platform linux/s390x for image ${idOf(amd64)}: ${lacking()}`,
    ]);
    expect(await remove("amd64", "1")).toEqual([200, [{ Deleted: amd64.manifest.digest }]]);
    const { json: shown } = await call(`/images/${LOCAL}/json`, { query: [["manifests", "1"]] });
    expect(shown.Id).toBe(String(idOf(arm64)));
    expect(present(shown.Manifests)).not.toContain(amd64.manifest.digest);
    const last = await remove("arm64", "1");
    expect(last[1][0]).toEqual({ Untagged: LOCAL });
    expect((await call("/images/json")).json).toEqual([]);
  });
});

describe("the docker client's --platform", () => {
  const run = (...args: string[]) => world().docker(ours).run(args);
  const lacking = `image with reference ${LOCAL} was found but does not provide the specified platform (linux/s390x)`;

  test("history, image inspect, save and rmi have the engine take that platform's image", async () => {
    await load();
    const format = ["--format", "{{.ID}}", "--no-trunc"];
    expect((await run("history", "--platform", "linux/arm64", ...format, LOCAL)).stdout.trim()).toBe(
      String(idOf(arm64)),
    );
    const inspected = ["image", "inspect", "--format", "{{.Architecture}}"];
    expect((await run(...inspected, "--platform", "arm64", LOCAL)).stdout).toBe("arm64\n");
    expect(await run(...inspected, "--platform", "linux/s390x", LOCAL)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(lacking),
    });
    using dir = tempDir();
    const file = path.join(dir.path, "saved.tar");
    await run("save", "-o", file, "--platform", "linux/arm64", LOCAL);
    const { manifests: saved } = JSON.parse(await output(["tar", "-xOf", file, "index.json"]));
    expect(saved[0].digest).toBe(arm64.manifest.digest);
    await run("save", "-o", file, "--platform", "linux/amd64,linux/arm64", LOCAL);
    const { stdout } = await run("rmi", "-f", "--platform", "linux/amd64", LOCAL);
    expect(stdout).toBe(`Deleted: ${amd64.manifest.digest}\n`);
    await run("rmi", LOCAL);
    expect((await run("load", "-i", file, "--platform", "linux/arm64")).stdout).toBe(
      `Loaded image: ${LOCAL}\n`,
    );
    expect((await run(...inspected, LOCAL)).stdout).toBe("arm64\n");
  });

  test("push tells what is left out, also when not all of an index is here", async () => {
    await load();
    const name = `${world().registry}/noted:1`;
    await run("tag", LOCAL, name);
    const asked = await run("push", "--platform", "linux/arm64", name);
    expect(asked.stdout).toStartWith(
      "\n Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.\n",
    );
    expect(asked.stdout).toContain(`1: digest: ${arm64.manifest.digest} size: `);
    await run("rmi", "-f", "--platform", "linux/arm64", name);
    const { stdout } = await run("push", name);
    expect(stdout).toEndWith(
      `\n Info -> Not all multiplatform-content is present and only the available single-platform image was pushed\n         ${index.digest} -> ${amd64.manifest.digest}\n`,
    );
    expect(stdout).not.toContain("\n\n1: digest");
  });

  test.each([
    ["history", 'invalid platform: "toaster": unknown operating system or architecture: invalid argument'],
    ["save", 'invalid platform: "toaster": unknown operating system'],
    ["rmi", '"toaster": unknown operating system'],
    ["push", 'Invalid platform toaster"toaster": unknown operating system'],
  ])("%s says what is no platform, and that an older engine knows none", async (command, words) => {
    const wrong = await run(command, "--platform", "toaster", LOCAL);
    expect([wrong.status, wrong.stderr]).toEqual([1, expect.stringContaining(words)]);
    const old = await world()
      .docker(ours)
      .run([command, "--platform", "arm64", LOCAL], { env: { DOCKER_API_VERSION: "1.41" } });
    expect(old.stderr).toMatch(
      /^"--platform" requires API version 1\.\d\d, but the Docker daemon API version is 1\.41\n$/,
    );
  });
});

test("attestations: what builders say of an image, of all types or some, with the statements or without", async () => {
  await world().docker()("pull", "-q", remote);
  const ask = async (query: [string, string][] = [], version = "1.55") => {
    const { status, json: answer } = await call(`/images/${remote}/attestations`, { query, version });
    return [status, answer.message ?? answer];
  };
  const [, all] = await ask();
  expect(all.map(({ PredicateType }: { PredicateType: string }) => PredicateType)).toEqual([
    ...image.predicates,
  ]);
  expect(all[0]).toEqual({
    PredicateType: image.predicates[0],
    Descriptor: {
      mediaType: "application/vnd.in-toto+json",
      digest: attestation.blobs[1]?.digest,
      size: attestation.blobs[1]?.bytes.length,
      annotations: { "in-toto.io/predicate-type": image.predicates[0] },
    },
  });
  const [, [bom, ...others]] = await ask([
    ["type", String(image.predicates[1])],
    ["statement", "true"],
  ]);
  expect(others).toEqual([]);
  expect(bom.Statement).toEqual(JSON.parse(attestation.blobs[2]?.bytes.toString() ?? ""));
  expect(await ask([["platform", json("arm64")]])).toEqual([200, []]);
  expect(await ask([["platform", json("s390x")]])).toEqual([
    404,
    "resolving image manifest for platform &{Architecture:s390x OS:linux OSVersion: OSFeatures:[] Variant:}: no manifest for platform linux/s390x: not found",
  ]);
  expect(
    await ask([
      ["platform", json("arm64")],
      ["platform", json("amd64")],
    ]),
  ).toEqual([400, "only one platform value is currently supported"]);
  expect(await ask([], "1.54")).toEqual([
    400,
    "GET /images/{name:.*}/attestations requires minimum API version 1.55",
  ]);
});
