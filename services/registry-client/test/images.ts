import fs from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { run, type Stage } from "./peers.ts";

export const sha256 = (bytes: string | Uint8Array): string =>
  `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;

export interface BlobDescriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/** Bytes that compress badly and are the same for the same seed. */
export function noise(bytes: number, seed = 1): Buffer {
  const out = Buffer.alloc(bytes);
  let x = seed;
  for (let i = 0; i < bytes; i += 4) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    out.writeUInt32LE(x, Math.min(i, bytes - 4));
  }
  return out;
}

/** An OCI image layout on disk, filled by hand. */
export class Layout {
  readonly dir: string;

  constructor(stage: Stage, name: string) {
    this.dir = path.join(stage.dir, name);
    fs.mkdirSync(path.join(this.dir, "blobs/sha256"), { recursive: true });
    fs.writeFileSync(path.join(this.dir, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  }

  add(mediaType: string, content: unknown): BlobDescriptor {
    const bytes = content instanceof Uint8Array ? content : Buffer.from(JSON.stringify(content));
    const digest = sha256(bytes);
    fs.writeFileSync(path.join(this.dir, "blobs/sha256", digest.slice("sha256:".length)), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** A one-platform image whose layers hold one file each. */
  async image(architecture: string, files: Record<string, Buffer>): Promise<BlobDescriptor> {
    const layers: BlobDescriptor[] = [];
    const diffIds: string[] = [];
    for (const [name, content] of Object.entries(files)) {
      const tar = await tarOf(this.dir, name, content);
      diffIds.push(sha256(tar));
      layers.push(this.add("application/vnd.oci.image.layer.v1.tar+gzip", gzipSync(tar)));
    }
    const config = this.add("application/vnd.oci.image.config.v1+json", {
      architecture,
      os: "linux",
      config: { Cmd: ["/bin/true"] },
      rootfs: { type: "layers", diff_ids: diffIds },
    });
    return this.add("application/vnd.oci.image.manifest.v1+json", {
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config,
      layers,
    });
  }

  /** Make a manifest or an index what the layout's tag points to. */
  tag(name: string, target: BlobDescriptor): void {
    const annotations = { "org.opencontainers.image.ref.name": name };
    fs.writeFileSync(
      path.join(this.dir, "index.json"),
      JSON.stringify({ schemaVersion: 2, manifests: [{ ...target, annotations }] }),
    );
  }

  async push(tag: string, destination: string, ...options: string[]): Promise<void> {
    const policy = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", ...options];
    await run(["skopeo", ...policy, `oci:${this.dir}:${tag}`, `docker://${destination}`]);
  }
}

async function tarOf(dir: string, name: string, content: Buffer): Promise<Buffer> {
  const work = fs.mkdtempSync(path.join(dir, "layer-"));
  try {
    fs.writeFileSync(path.join(work, name), content);
    const child = Bun.spawn(["tar", "-C", work, "--sort=name", "--mtime=@0", "-cf", "-", name], {
      stdout: "pipe",
    });
    return Buffer.from(await child.stdout.bytes());
  } finally {
    fs.rmSync(work, { recursive: true });
  }
}
