import fs from "node:fs";
import path from "node:path";
import { type Blob, blobOf, type LocalImage, makeImage } from "@longshore/suite";
import { output, pushImage, tempDir } from "@longshore/testkit";

const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const PREDICATES = ["https://slsa.dev/provenance/v0.2", "https://spdx.dev/Document"];

/** An image of two platforms, of which one is attested, as BuildKit makes them: in the order of its index. */
export interface AttestedImage {
  index: Blob;
  amd64: LocalImage;
  arm64: LocalImage;
  attestation: LocalImage;
  /** Types of the statements that the attestation has. */
  predicates: readonly string[];
}

export function attestedImage(): AttestedImage {
  using dir = tempDir();
  const imageFor = (platform: { os: string; architecture: string; variant?: string }) => {
    const root = path.join(dir.path, platform.architecture);
    fs.mkdirSync(root);
    fs.writeFileSync(path.join(root, "file"), platform.architecture);
    return makeImage({ layers: [root], cmd: ["/file"], platform });
  };
  const platforms = [
    { os: "linux", architecture: "amd64" },
    { os: "linux", architecture: "arm64", variant: "v8" },
  ] as const;
  const [amd64, arm64] = [imageFor(platforms[0]), imageFor(platforms[1])];
  const attestation = attestationOf(amd64);
  const entries = [
    { ...descriptor(amd64.manifest, MANIFEST), platform: platforms[0] },
    { ...descriptor(arm64.manifest, MANIFEST), platform: platforms[1] },
    {
      ...descriptor(attestation.manifest, MANIFEST),
      annotations: {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": amd64.manifest.digest,
      },
      platform: { os: "unknown", architecture: "unknown" },
    },
  ];
  const index = document({ schemaVersion: 2, mediaType: INDEX, manifests: entries });
  return { index, amd64, arm64, attestation, predicates: PREDICATES };
}

function attestationOf({ manifest: { digest } }: LocalImage): LocalImage {
  const statements = PREDICATES.map((predicateType) =>
    document({
      _type: "https://in-toto.io/Statement/v0.1",
      predicateType,
      subject: [{ digest: { sha256: digest.slice("sha256:".length) } }],
      predicate: {},
    }),
  );
  const diffIds = statements.map((one) => one.digest);
  const rootfs = { type: "layers", diff_ids: diffIds };
  const config = document({ os: "unknown", architecture: "unknown", config: {}, rootfs });
  const layers = statements.map((one, at) => ({
    ...descriptor(one, "application/vnd.in-toto+json"),
    annotations: { "in-toto.io/predicate-type": PREDICATES[at] },
  }));
  const configDescriptor = descriptor(config, "application/vnd.oci.image.config.v1+json");
  const manifest = document({ schemaVersion: 2, mediaType: MANIFEST, config: configDescriptor, layers });
  return { manifest: { ...manifest, mediaType: MANIFEST }, blobs: [config, ...statements] };
}

/** Into a registry, by its digests and one tag. */
export async function pushAttested(
  registry: string,
  name: string,
  tag: string,
  { index, amd64, arm64, attestation }: AttestedImage,
): Promise<void> {
  for (const one of [amd64, arm64, attestation]) await pushImage(registry, name, one.manifest.digest, one);
  await pushImage(registry, name, tag, { manifest: { ...index, mediaType: INDEX }, blobs: [] });
}

/** As an OCI layout in a tar, under a name. */
export async function archiveAttested(
  file: string,
  name: string,
  { index, amd64, arm64, attestation }: AttestedImage,
): Promise<void> {
  using dir = tempDir();
  const blobs = path.join(dir.path, "blobs/sha256");
  fs.mkdirSync(blobs, { recursive: true });
  const all = [amd64, arm64, attestation].flatMap((one) => [one.manifest, ...one.blobs]);
  for (const { digest, bytes } of [index, ...all])
    fs.writeFileSync(path.join(blobs, digest.slice("sha256:".length)), bytes);
  const entry = { ...descriptor(index, INDEX), annotations: { "io.containerd.image.name": name } };
  fs.writeFileSync(path.join(dir.path, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  fs.writeFileSync(
    path.join(dir.path, "index.json"),
    JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [entry] }),
  );
  await output(["tar", "-cf", file, "-C", dir.path, "."]);
}

function document(value: object): Blob {
  return blobOf(Buffer.from(JSON.stringify(value)));
}

function descriptor({ digest, bytes }: Blob, mediaType: string) {
  return { mediaType, digest, size: bytes.length };
}
