/** Media types of Docker's schema 2 and of the OCI image specification. */
export const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
export const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
export const DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";
export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";

/** What we ask a registry for, best first. */
export const ACCEPT = [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX, "*/*"].join(", ");

export const isManifest = (type: string): boolean => type === DOCKER_MANIFEST || type === OCI_MANIFEST;
export const isIndex = (type: string): boolean => type === DOCKER_LIST || type === OCI_INDEX;
export const isConfig = (type: string): boolean => type === DOCKER_CONFIG || type === OCI_CONFIG;
export const isSchema1 = (type: string): boolean =>
  type.startsWith("application/vnd.docker.distribution.manifest.v1+");

/** Layers of either family, whatever their compression. */
export function isLayer(type: string): boolean {
  return (
    type.startsWith("application/vnd.oci.image.layer.") ||
    /^application\/vnd\.docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?(\+|$)/.test(type)
  );
}

/** Layers that whoever serves the image may not pass on, and that are had elsewhere. */
export const isNondistributable = (type: string): boolean =>
  type.startsWith("application/vnd.oci.image.layer.nondistributable.") ||
  type.startsWith("application/vnd.docker.image.rootfs.foreign.");
