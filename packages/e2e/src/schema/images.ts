import { config, descriptor, graphDriver, health, platform } from "./common.ts";
import {
  extended,
  field,
  goList,
  goMap,
  keySet,
  list,
  nullable,
  object,
  optional,
  type Shape,
  words,
} from "./shape.ts";

/** Where an image comes from: of images in containerd only. */
const identity: Shape = object({
  Signature: optional(list("anything")),
  Pull: optional(list(object({ Repository: optional("string") }))),
  Build: optional(list(object({ Ref: optional("string"), CreatedAt: "time" }))),
});

const manifestSummary: Shape = object({
  ID: "digest",
  Descriptor: descriptor,
  Available: "boolean",
  Size: object({ Content: "integer", Total: "integer" }),
  Kind: words("image", "attestation", "unknown"),
  ImageData: optional(
    object({
      Platform: platform,
      Identity: field(identity, { optional: true, since: "1.54" }),
      Size: object({ Unpacked: "integer" }),
      Containers: goList("id"),
    }),
  ),
  AttestationData: optional(object({ For: "digest" })),
});

/** Of a container's settings those that an image can have; older versions show all. */
const imageConfig: Shape = object({
  Hostname: field("string", { before: "1.50" }),
  Domainname: field("string", { before: "1.50" }),
  AttachStdin: field("boolean", { before: "1.50" }),
  AttachStdout: field("boolean", { before: "1.50" }),
  AttachStderr: field("boolean", { before: "1.50" }),
  Tty: field("boolean", { before: "1.50" }),
  OpenStdin: field("boolean", { before: "1.50" }),
  StdinOnce: field("boolean", { before: "1.50" }),
  Image: field("string", { before: "1.50" }),
  NetworkDisabled: field("boolean", { optional: true, before: "1.50" }),
  MacAddress: field("string", { optional: true, before: "1.50" }),
  StopTimeout: field("integer", { optional: true, before: "1.50" }),
  User: field("string", { optionalSince: "1.52" }),
  ExposedPorts: optional(keySet),
  Env: field(goList("string"), { optionalSince: "1.52" }),
  Cmd: field(goList("string"), { optionalSince: "1.52" }),
  Healthcheck: optional(health),
  ArgsEscaped: optional("boolean"),
  Volumes: field(nullable(keySet), { optionalSince: "1.52" }),
  WorkingDir: field("string", { optionalSince: "1.52" }),
  Entrypoint: field(goList("string"), { optionalSince: "1.52" }),
  OnBuild: field(goList("string"), { optionalSince: "1.52" }),
  Labels: field(goMap("string"), { optionalSince: "1.52" }),
  StopSignal: optional("string"),
  Shell: optional(goList("string")),
});

/** Manifests are there for those who have asked for them. */
const manifests = (since: string) => field(list(manifestSummary), { optional: true, since });

export const image = object({
  Id: "digest",
  RepoTags: list("string"),
  RepoDigests: list("string"),
  Parent: field("string", { optionalSince: "1.52" }),
  Comment: field("string", { optionalSince: "1.52" }),
  Created: field("time", { optionalSince: "1.44" }),
  Container: field("string", { before: "1.45" }),
  // Newer engines know none any more.
  ContainerConfig: field(nullable(config), { before: "1.45" }),
  DockerVersion: field("string", { optionalSince: "1.52" }),
  Author: field("string", { optionalSince: "1.52" }),
  Config: nullable(imageConfig),
  Architecture: "string",
  Variant: optional("string"),
  Os: "string",
  OsVersion: optional("string"),
  Size: "integer",
  VirtualSize: field("integer", { before: "1.44" }),
  // Nothing is said of it where containerd has the layers.
  GraphDriver: field(graphDriver, { optionalSince: "1.52" }),
  RootFS: object({ Type: "string", Layers: optional(list("digest")) }),
  Metadata: object({ LastTagTime: "time" }),
  Descriptor: field(descriptor, { optional: true, since: "1.48" }),
  Manifests: manifests("1.48"),
  Identity: field(identity, { optional: true, since: "1.53" }),
});

const imageSummary = object({
  Id: "digest",
  ParentId: "string",
  RepoTags: goList("string"),
  RepoDigests: goList("string"),
  Created: "integer",
  Size: "integer",
  SharedSize: "integer",
  VirtualSize: field("integer", { before: "1.44" }),
  Labels: goMap("string"),
  Containers: "integer",
  Descriptor: field(descriptor, { optional: true, since: "1.48" }),
});

export const listedImage = extended(imageSummary, { Manifests: manifests("1.47") });

/** An image where it is about room on the disk: clients of all versions are shown its descriptor. */
export const measuredImage = extended(imageSummary, {
  Descriptor: field(descriptor, { optional: true, engineSince: "1.48" }),
});

export const history = list(
  object({
    Id: "string",
    Created: "integer",
    CreatedBy: "string",
    Tags: goList("string"),
    Size: "integer",
    Comment: "string",
  }),
);

const deletions = list(object({ Untagged: optional("string"), Deleted: optional("digest") }));
export const deleted = deletions;
export const pruned = object({ ImagesDeleted: nullable(deletions), SpaceReclaimed: "integer" });
export const prunedBuildCache = object({ CachesDeleted: goList("string"), SpaceReclaimed: "integer" });
export const committed = object({ Id: "digest" });

export const searched = list(
  object({
    star_count: "integer",
    is_official: "boolean",
    name: "string",
    is_automated: "boolean",
    description: "string",
  }),
);

/** One line of the progress of a pull, push, load or import. */
export const progress = object({
  id: optional("string"),
  status: optional("string"),
  stream: optional("string"),
  progress: optional("string"),
  progressDetail: optional(
    object({
      current: optional("integer"),
      total: optional("integer"),
      start: optional("integer"),
      hidecounts: optional("boolean"),
      units: optional("string"),
    }),
  ),
  error: optional("string"),
  errorDetail: optional(object({ code: optional("integer"), message: "string" })),
  aux: optional(
    object({
      ID: optional("digest"),
      Tag: optional("string"),
      Digest: optional("digest"),
      Size: optional("integer"),
      manifestPushedInsteadOfIndex: optional("boolean"),
      originalIndex: optional(descriptor),
      selectedManifest: optional(descriptor),
    }),
  ),
});

export const attestations = list(
  object({ Descriptor: descriptor, PredicateType: "string", Statement: optional("anything") }),
);

export const distribution = object({
  Descriptor: descriptor,
  // A manifest that isn't of several platforms may name none.
  Platforms: goList(platform),
});
