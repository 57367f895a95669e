import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import { blobOf, findExecutable, type LocalImage } from "@longshore/suite";
import { packagesImage, smallFilesImage } from "./bench-images.ts";

export const imageNames = ["packages", "small"] as const;

/** Two registries on loopback: one with the images, `NAME:ROUND`, and one that is empty. */
export interface ServedImages extends AsyncDisposable {
  readonly source: string;
  readonly target: string;
  /** For `docker load`: the archive of another image of the kind, in the form that every Docker reads, with packed layers. */
  archive(name: (typeof imageNames)[number], round: number): string;
}

const PORTS = { source: 5791, target: 5792 };

/** Debian's docker-registry, twice. Undefined where it is missing. */
export async function serveBenchImages(
  dir: string,
  { names, rounds }: { names: readonly (typeof imageNames)[number][]; rounds: number },
): Promise<ServedImages | undefined> {
  const registry = findExecutable("docker-registry");
  if (!registry) return undefined;
  const archive = (name: string, round: number) => path.join(dir, `${name}-${round}.tar`);
  const started: ChildProcess[] = [];
  const stopAll = async () => {
    await Promise.all(started.map(stop));
  };
  const start = async (port: number) => {
    const root = path.join(dir, String(port));
    fs.mkdirSync(root, { recursive: true });
    started.push(startRegistry(registry, root, port));
    await listening(port);
    return `127.0.0.1:${port}`;
  };
  try {
    const [source, target] = [await start(PORTS.source), await start(PORTS.target)];
    for (const name of names) {
      const work = path.join(dir, name);
      fs.mkdirSync(work);
      const image = { packages: packagesImage, small: smallFilesImage }[name](work);
      fs.rmSync(work, { recursive: true });
      for (let round = 0; round < rounds; round++) {
        await putImage(`http://${source}/v2/${name}`, String(round), variant(image, round));
        writeArchive(
          variant(image, rounds + round),
          `bench-load/${name}:${round}`,
          archive(name, round),
          work,
        );
      }
    }
    return { source, target, archive, [Symbol.asyncDispose]: stopAll };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/** The same image with one more file in each layer. Gzip files can be joined: nothing is compressed again. */
function variant({ manifest, blobs }: LocalImage, round: number): LocalImage {
  const parsed = JSON.parse(manifest.bytes.toString());
  const bytesOf = new Map(blobs.map(({ digest, bytes }) => [digest, bytes]));
  const addition = oneFileTar(`round-${round}`);
  const layers = parsed.layers.map(({ digest }: { digest: string }) =>
    blobOf(Buffer.concat([gzipSync(addition), bytesOf.get(digest) ?? Buffer.alloc(0)])),
  );
  const config = JSON.parse((bytesOf.get(parsed.config.digest) ?? Buffer.alloc(0)).toString());
  config.rootfs.diff_ids = layers.map(({ bytes }: { bytes: Buffer }) => blobOf(gunzipSync(bytes)).digest);
  const configBlob = blobOf(Buffer.from(JSON.stringify(config)));
  parsed.config = { ...parsed.config, digest: configBlob.digest, size: configBlob.bytes.length };
  parsed.layers = parsed.layers.map((layer: object, index: number) => ({
    ...layer,
    digest: layers[index].digest,
    size: layers[index].bytes.length,
  }));
  const whole = blobOf(Buffer.from(JSON.stringify(parsed)));
  return { manifest: { ...whole, mediaType: manifest.mediaType }, blobs: [configBlob, ...layers] };
}

/** A tar of an empty file, without the blocks that end an archive. */
function oneFileTar(name: string): Buffer {
  const dir = fs.mkdtempSync(path.join(fs.realpathSync("/tmp"), "ls-bench-tar-"));
  try {
    fs.writeFileSync(path.join(dir, name), "");
    const tar = execFileSync("tar", ["--mtime=@0", "--numeric-owner", "-C", dir, "-cf", "-", name]);
    return tar.subarray(0, 512);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
}

/** @param work a directory that may be made for the time of it */
function writeArchive({ manifest, blobs }: LocalImage, name: string, file: string, work: string): void {
  const { config, layers } = JSON.parse(manifest.bytes.toString());
  const nameOf = ({ digest }: { digest: string }) => digest.replace(":", "-");
  fs.mkdirSync(work);
  for (const blob of blobs) fs.writeFileSync(path.join(work, nameOf(blob)), blob.bytes);
  const image = { Config: nameOf(config), RepoTags: [name], Layers: layers.map(nameOf) };
  fs.writeFileSync(path.join(work, "manifest.json"), JSON.stringify([image]));
  execFileSync("tar", ["-C", work, "-cf", file, "."]);
  fs.rmSync(work, { recursive: true });
}

async function putImage(base: string, tag: string, { manifest, blobs }: LocalImage): Promise<void> {
  for (const { digest, bytes } of blobs) {
    const begun = await expectStatus(await fetch(`${base}/blobs/uploads/`, { method: "POST" }), 202);
    const target = new URL(begun.headers.get("location") ?? "", base);
    target.searchParams.set("digest", digest);
    await expectStatus(await fetch(target, { method: "PUT", body: new Uint8Array(bytes) }), 201);
  }
  const headers = { "content-type": manifest.mediaType };
  const body = new Uint8Array(manifest.bytes);
  await expectStatus(await fetch(`${base}/manifests/${tag}`, { method: "PUT", headers, body }), 201);
}

async function expectStatus(response: Response, status: number): Promise<Response> {
  if (response.status === status) return response;
  throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
}

function startRegistry(file: string, dir: string, port: number): ChildProcess {
  const config = path.join(dir, "registry.json");
  const storage = { filesystem: { rootdirectory: path.join(dir, "data") } };
  const http = { addr: `127.0.0.1:${port}` };
  fs.writeFileSync(config, JSON.stringify({ version: 0.1, log: { level: "error" }, storage, http }));
  return spawn(file, ["serve", config], { stdio: "ignore" });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

async function listening(port: number): Promise<void> {
  const answers = () =>
    new Promise<boolean>((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
  for (const end = performance.now() + 10_000; !(await answers()); await delay(20))
    if (performance.now() > end) throw new Error(`docker-registry does not listen at port ${port}`);
}
