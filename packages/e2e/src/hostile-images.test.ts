import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import { type TestEntry, tarBlocks, tarOf } from "@longshore/archive/testing";
import { blobOf, type ImageServer, type LocalImage, serveImages } from "@longshore/suite";
import { type Engine, eventually, startEngine, tempDir } from "@longshore/testkit";
import fc from "fast-check";
import { anyReal, binDir, ours } from "./world.ts";

setDefaultTimeout(120_000);

const LIMIT_BYTES = 2_000_000;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const CONFIG = "application/vnd.oci.image.config.v1+json";
const LAYER = "application/vnd.oci.image.layer.v1.tar";

interface Parts {
  /** Uncompressed. */
  layers?: Buffer[];
  /** Change the config's JSON, the manifest's. */
  config?: (config: Record<string, unknown>) => unknown;
  manifest?: (manifest: Record<string, unknown>) => unknown;
}

const LAYERS = [tarOf([{ name: "a", content: "x" }])];

function imageOf({ layers = LAYERS, config = (json) => json, manifest = (json) => json }: Parts): LocalImage {
  const packed = layers.map((tar) => blobOf(zlib.gzipSync(tar)));
  const diffIds = layers.map((tar) => blobOf(tar).digest);
  const described = (mediaType: string, { digest, bytes }: { digest: string; bytes: Buffer }) => ({
    mediaType,
    digest,
    size: bytes.length,
  });
  const configBlob = blobOf(
    Buffer.from(
      JSON.stringify(
        config({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: diffIds } }),
      ),
    ),
  );
  const document = manifest({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: described(CONFIG, configBlob),
    layers: packed.map((blob) => described(`${LAYER}+gzip`, blob)),
  });
  const bytes = Buffer.from(typeof document === "string" ? document : JSON.stringify(document));
  return { manifest: { ...blobOf(bytes), mediaType: MANIFEST }, blobs: [configBlob, ...packed] };
}

const images: Record<string, LocalImage> = {};
/** What the registry says of who may read it, in place of its answers. */
let challenge: { header: string; token: string } | undefined;
const dir = tempDir();
let engine: Engine;
let server: ImageServer;

beforeAll(async () => {
  const file = path.join(dir.path, "containerd.toml");
  const section = '[plugins."io.containerd.differ.v1.walking"]';
  fs.writeFileSync(file, `version = 2\n${section}\nlayer_max_bytes = ${LIMIT_BYTES}\n`);
  server = await serveImages({
    images,
    intercept(request, response) {
      if (!challenge) return false;
      const isToken = request.url?.startsWith("/token");
      if (isToken) response.writeHead(200).end(challenge.token);
      else response.writeHead(401, { "www-authenticate": challenge.header }).end();
      return true;
    },
  });
  engine = await startEngine({
    binDir,
    cli: anyReal ?? ours,
    components: { containerd: { extraArgs: ["--config", file] } },
  });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

const docker = (...args: string[]) => engine.docker(ours)(...args);
const inRoot = (name: string) => path.join(engine.suite.paths.containerdRoot, name);

/** What containerd has of images. */
function held(): string[] {
  const places = [
    "io.containerd.content.v1.content/blobs/sha256",
    "io.containerd.snapshotter.v1.overlayfs/snapshots",
  ];
  return places.map(inRoot).flatMap((place) => (fs.existsSync(place) ? fs.readdirSync(place) : []));
}

afterEach(async () => {
  expect(await docker("images", "-aq")).toBe("");
  await eventually(() => held().length === 0, { what: "all blobs and snapshots gone", timeoutMs: 30_000 });
});

let count = 0;

/** @returns what is told of the failure; empty when it worked */
async function pull(image: LocalImage): Promise<string> {
  const name = `hostile${++count}`;
  images[`${name}:1`] = image;
  const reference = encodeURIComponent(`${server.host}/${name}`);
  const answer = await fetch(`http://docker/images/create?fromImage=${reference}&tag=1`, {
    method: "POST",
    unix: engine.suite.paths.dockerSocket,
  });
  const lines = (await answer.text()).split("\n").filter((line) => line.trim() !== "");
  const last = JSON.parse(lines.at(-1) ?? "{}") as { error?: string; message?: string };
  const failure = last.error ?? last.message ?? "";
  if (failure === "") await docker("rmi", `${server.host}/${name}:1`);
  return failure;
}

const many = (n: number) => Array.from({ length: n }, (_, i) => tarOf([{ name: `f${i}` }]));

test.each<[string, Parts, RegExp]>([
  [
    "a layer that unpacks to too much",
    { layers: [tarOf([{ name: "zeros", content: "\0".repeat(LIMIT_BYTES) }])] },
    /the layer unpacks to more than 2000000 bytes, the limit here/,
  ],
  ["more layers than overlayfs can stack", { layers: many(500) }, /max depth exceeded: .* has 500 layers/],
  [
    "a layer that is no tar",
    { layers: [...LAYERS, Buffer.alloc(2000, "rubbish ")] },
    /archive\/tar: invalid tar header/,
  ],
  [
    "a name of more than a path may have",
    {
      layers: [
        Buffer.concat([tarBlocks({ name: "l", type: "L", content: `${"d/".repeat(3000)}\0` }), ...LAYERS]),
      ],
    },
    /a name of more than 4095 bytes/,
  ],
  [
    "a layer other than the config says",
    {
      config: (config) => ({ ...config, rootfs: { type: "layers", diff_ids: [`sha256:${"0".repeat(64)}`] } }),
    },
    /wrong diff id calculated on extraction sha256:/,
  ],
  [
    "fewer layers than the config says",
    { manifest: (manifest) => ({ ...manifest, layers: [] }) },
    /has 1 diff ids for 0 layers/,
  ],
  ["a config that is none", { config: () => ["config"] }, /is not a document of the kind expected/],
  [
    "a config without layers",
    { config: ({ rootfs: _, ...config }) => config },
    /is not a document of the kind/,
  ],
  [
    "a layer whose size is wrong",
    {
      manifest: (manifest) => ({
        ...manifest,
        layers: (manifest.layers as object[]).map((layer) => ({ ...layer, size: 5 })),
      }),
    },
    /longer than|size|digest/,
  ],
  [
    "a health check whose interval is a text",
    { config: (config) => ({ ...config, config: { Healthcheck: { Test: ["CMD", "x"], Interval: "abc" } } }) },
    /: config\.Healthcheck\.Interval: expected number, received string/,
  ],
  [
    "a health check whose retries are a fraction",
    { config: (config) => ({ ...config, config: { Healthcheck: { Retries: 0.5 } } }) },
    /: config\.Healthcheck\.Retries: not an integer of 64 bits/,
  ],
  [
    "more volumes than a container could have",
    {
      config: (config) => ({
        ...config,
        config: { Volumes: Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`/v${i}`, {}])) },
      }),
    },
    /: config\.Volumes: more than 1000 keys/,
  ],
  [
    "a working directory of more than a path may have",
    { config: (config) => ({ ...config, config: { WorkingDir: `/${"d".repeat(4096)}` } }) },
    /: config\.WorkingDir: /,
  ],
  ["a manifest that is none", { manifest: () => "{}" }, /config is not a JSON object|manifest/],
])("a pull of %s is refused, and nothing of it stays", async (_what, parts, message) => {
  expect(await pull(imageOf(parts))).toMatch(message);
});

test("configs of any shape are taken or refused, and nothing of them stays", async () => {
  const odd = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom("", -1, 1e99, null, [], {}));
  const keys = ["architecture", "os", "config", "rootfs", "history", "created", "author"];
  const settings = ["Env", "Cmd", "Entrypoint", "Labels", "ExposedPorts", "Volumes", "User", "Healthcheck"];
  const twist = fc.oneof(
    fc.tuple(fc.constantFrom(...keys), odd).map(([key, value]) => ({ [key]: value })),
    fc.tuple(fc.constantFrom(...settings), odd).map(([key, value]) => ({ config: { [key]: value } })),
  );
  await fc.assert(
    fc.asyncProperty(twist, async (change) => {
      const failure = await pull(imageOf({ config: (config) => ({ ...config, ...change }) }));
      expect(failure).not.toMatch(/internal|undefined|TypeError/);
    }),
    { numRuns: 25 },
  );
});

test("manifests of any shape are taken or refused, and nothing of them stays", async () => {
  const odd = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom("", -1, 2 ** 40, null, [], {}));
  const twist = fc.oneof(
    fc.tuple(fc.constantFrom("schemaVersion", "mediaType", "config", "layers", "manifests"), odd),
    odd.map((value) => ["layers", [value]] as const),
    fc
      .tuple(fc.constantFrom("mediaType", "digest", "size", "urls", "annotations"), odd)
      .map(([key, value]) => ["config", { [key]: value }] as const),
  );
  await fc.assert(
    fc.asyncProperty(twist, async ([key, value]) => {
      const merged = (old: unknown) =>
        key === "config" && typeof value === "object" && value !== null && !Array.isArray(value)
          ? { ...(old as object), ...value }
          : value;
      const failure = await pull(
        imageOf({ manifest: (manifest) => ({ ...manifest, [key]: merged(manifest[key]) }) }),
      );
      expect(failure).not.toMatch(/undefined|TypeError/);
    }),
    { numRuns: 25 },
  );
});

test("challenges and tokens of any shape are refused in a clear line, and nothing of the image is there", async () => {
  const word = fc.constantFrom(
    "realm",
    "scope",
    "service",
    "=",
    ",",
    '"',
    "\\",
    " ",
    "[::1",
    "\u00e9",
    "://",
  );
  const value = fc.array(word, { maxLength: 8 }).map((words) => words.join(""));
  const scheme = fc.constantFrom("Bearer", "Basic", "Negotiate", "Digest", "=", "");
  const header = fc.oneof(
    fc.tuple(scheme, value).map(([name, rest]) => `${name} ${rest}`),
    fc.constant(`Bearer realm="http://${server.host}/token"`),
  );
  const token = fc.oneof(
    fc.json({ maxDepth: 1 }),
    fc.json().map((json) => `{"token":${json}}`),
    fc.string(),
  );
  try {
    await fc.assert(
      fc.asyncProperty(header, token, async (given, answer) => {
        challenge = { header: given, token: answer };
        const failure = await pull(imageOf({}));
        expect(failure).toMatch(/unauthorized|no basic auth credentials|token server|gave no token/);
        expect(failure).toMatch(/^[^\p{Cc}\p{Cf}]{10,1500}$/u);
        expect(held()).toEqual([]);
      }),
      { numRuns: 40 },
    );
  } finally {
    challenge = undefined;
  }
  expect(await pull(imageOf({}))).toBe(""); // the same registry, in its right mind again
});

test("layers with bytes changed here and there are taken or refused, and nothing of them stays", async () => {
  const entries: TestEntry[] = [
    { name: "d/", type: "5" },
    { name: "d/f", content: "content" },
    { name: "d/link", type: "1", linkName: "d/f" },
    { name: "d/.wh.gone" },
  ];
  const valid = tarOf(entries);
  const change = fc.tuple(fc.nat(valid.length - 1), fc.nat(255));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      const tar = Buffer.from(valid);
      for (const [at, byte] of changes) tar[at] = byte;
      const failure = await pull(imageOf({ layers: [...LAYERS, tar] }));
      expect(failure).not.toMatch(/internal|undefined|TypeError/);
    }),
    { numRuns: 25 },
  );
});
