import fs from "node:fs";
import http from "node:http";
import type { LocalImage } from "./local-image.ts";

export interface ImageServer extends AsyncDisposable {
  /** `127.0.0.1:<port>`. */
  readonly host: string;
  /** What was asked for, `GET /v2/…`, in order. */
  readonly requests: readonly string[];
}

export interface ImageServerOptions {
  /** By `repository:tag`. */
  images: Record<string, LocalImage>;
  /** A free one when left out or 0. */
  port?: number;
  /** Answers in place of the registry when it returns true: for registries that misbehave. */
  intercept?: (request: http.IncomingMessage, response: http.ServerResponse) => boolean;
}

const PATH = /^\/v2\/(?<repository>.+)\/(?<kind>manifests|blobs)\/(?<reference>[^/]+)$/;

/**
 * A read-only registry of a few images on loopback, by the OCI distribution specification: what a client needs to pull.
 */
export async function serveImages({ images, port = 0, intercept }: ImageServerOptions): Promise<ImageServer> {
  const requests: string[] = [];
  const server = http.createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (intercept?.(request, response)) return;
    answer(images, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP listener without a port");
  return {
    host: `127.0.0.1:${address.port}`,
    requests,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer(
  images: Record<string, LocalImage>,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): void {
  const { pathname } = new URL(request.url ?? "/", "http://registry");
  if (pathname === "/v2/") {
    response.writeHead(200, { "docker-distribution-api-version": "registry/2.0" }).end("{}");
    return;
  }
  const { repository, kind, reference } = PATH.exec(pathname)?.groups ?? {};
  const ofRepository = Object.entries(images).filter(([name]) => name.startsWith(`${repository}:`));
  const found =
    kind === "manifests"
      ? ofRepository.find(
          ([name, image]) => name === `${repository}:${reference}` || image.manifest.digest === reference,
        )?.[1].manifest
      : ofRepository.flatMap(([, image]) => image.blobs).find((blob) => blob.digest === reference);
  if (!found) {
    const code =
      kind === "blobs" ? "BLOB_UNKNOWN" : ofRepository.length > 0 ? "MANIFEST_UNKNOWN" : "NAME_UNKNOWN";
    const body = JSON.stringify({ errors: [{ code, message: `${code.toLowerCase().replace("_", " ")}` }] });
    response
      .writeHead(404, { "content-type": "application/json" })
      .end(request.method === "HEAD" ? undefined : body);
    return;
  }
  response.writeHead(200, {
    "content-type": "mediaType" in found ? String(found.mediaType) : "application/octet-stream",
    "content-length": found.bytes.length,
    "docker-content-digest": found.digest,
  });
  response.end(request.method === "HEAD" ? undefined : found.bytes);
}

/** Write an image as an OCI layout, which tools like skopeo read. */
export function writeOciLayout(image: LocalImage, dir: string, tag: string): void {
  fs.mkdirSync(`${dir}/blobs/sha256`, { recursive: true });
  const { manifest, blobs } = image;
  for (const { digest, bytes } of [manifest, ...blobs]) {
    fs.writeFileSync(`${dir}/blobs/${digest.replace(":", "/")}`, bytes);
  }
  fs.writeFileSync(`${dir}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  const entry = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    annotations: { "org.opencontainers.image.ref.name": tag },
  };
  fs.writeFileSync(`${dir}/index.json`, JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
}
