import { execFileSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import zlib from "node:zlib";

/** Bytes with their name: `sha256:` and the digest. */
export interface Blob {
  digest: string;
  bytes: Buffer;
}

/** An image in memory, as a registry holds it. */
export interface LocalImage {
  manifest: Blob & { mediaType: string };
  /** Config and layers. */
  blobs: Blob[];
}

export interface ImageOptions {
  /** Directories, one a layer, the lowest first. */
  layers: string[];
  cmd: string[];
  env?: string[];
  workingDir?: string;
  user?: string;
  /** Settings that are added to the image's or replace them. They are written unchecked. */
  settings?: Record<string, unknown>;
  /** OCI media types, or Docker's manifest version 2. */
  format?: "oci" | "docker";
  /** What its programs are for, in Go's words; this host's when left out. */
  platform?: { os: string; architecture: string; variant?: string };
}

const MEDIA_TYPES = {
  oci: {
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: "application/vnd.oci.image.layer.v1.tar+gzip",
  },
  docker: {
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
  },
} as const;

/** The same files give the same bytes: their image is the same one, whenever it is made. */
const EPOCH = "1970-01-01T00:00:00Z";

export function blobOf(bytes: Buffer): Blob {
  return { digest: `sha256:${crypto.createHash("sha256").update(bytes).digest("hex")}`, bytes };
}

function tarOf(dir: string): Buffer {
  return execFileSync(
    "tar",
    ["--create", "--sort=name", "--mtime=@0", "--numeric-owner", "--owner=0", "--group=0", "-C", dir, "."],
    { maxBuffer: 1 << 30 },
  );
}

/** Make an image of directory trees. Owners become root; modes, links and devices stay. */
export function makeImage({
  layers,
  cmd,
  env,
  workingDir,
  user,
  settings,
  format = "oci",
  platform = { os: "linux", architecture: "amd64" },
}: ImageOptions): LocalImage {
  const types = MEDIA_TYPES[format];
  const tars = layers.map(tarOf);
  const layerBlobs = tars.map((tar) => blobOf(zlib.gzipSync(tar)));
  const config = blobOf(
    Buffer.from(
      JSON.stringify({
        created: EPOCH,
        ...platform,
        config: {
          Env: env ?? ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
          Cmd: cmd,
          ...(workingDir !== undefined && { WorkingDir: workingDir }),
          ...(user !== undefined && { User: user }),
          ...settings,
        },
        rootfs: { type: "layers", diff_ids: tars.map((tar) => blobOf(tar).digest) },
        history: layers.map((_, index) => ({ created: EPOCH, created_by: `layer ${index + 1}` })),
      }),
    ),
  );
  const describe = (mediaType: string, { digest, bytes }: Blob) => ({
    mediaType,
    digest,
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: types.manifest,
      config: describe(types.config, config),
      layers: layerBlobs.map((layer) => describe(types.layer, layer)),
    }),
  );
  return { manifest: { ...blobOf(manifest), mediaType: types.manifest }, blobs: [config, ...layerBlobs] };
}

/**
 * An image of nothing but a static busybox under all its names, `/bin/sh` among them.
 * @param settings as in {@link ImageOptions}
 */
export function busyboxImage(busybox: string, settings: Record<string, unknown> = {}): LocalImage {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-image-"));
  try {
    fs.chmodSync(root, 0o755);
    for (const dir of ["bin", "etc", "home", "root", "tmp", "usr/bin", "var"]) {
      fs.mkdirSync(path.join(root, dir), { recursive: true });
    }
    fs.chmodSync(path.join(root, "tmp"), 0o1777);
    fs.chmodSync(path.join(root, "root"), 0o700);
    fs.copyFileSync(busybox, path.join(root, "bin/busybox"));
    fs.chmodSync(path.join(root, "bin/busybox"), 0o755);
    for (const name of execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n")) {
      if (name !== "busybox") fs.linkSync(path.join(root, "bin/busybox"), path.join(root, "bin", name));
    }
    const nobody = "nobody:x:65534:65534:nobody:/home:/bin/false";
    fs.writeFileSync(path.join(root, "etc/passwd"), `root:x:0:0:root:/root:/bin/sh\n${nobody}\n`);
    fs.writeFileSync(path.join(root, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
    return makeImage({ layers: [root], cmd: ["sh"], settings });
  } finally {
    fs.rmSync(root, { recursive: true });
  }
}
