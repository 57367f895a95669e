import { config, graphDriver } from "./common.ts";
import { field, goList, goMap, list, nullable, object, optional, type Shape } from "./shape.ts";

export const image = object({
  Id: "digest",
  RepoTags: list("string"),
  RepoDigests: list("string"),
  Parent: "string",
  Comment: "string",
  Created: "string",
  Container: field("string", { before: "1.45" }),
  ContainerConfig: field(config, { before: "1.45" }),
  DockerVersion: "string",
  Author: "string",
  Config: nullable(config),
  Architecture: "string",
  Variant: optional("string"),
  Os: "string",
  OsVersion: optional("string"),
  Size: "integer",
  VirtualSize: field("integer", { before: "1.44" }),
  GraphDriver: graphDriver,
  RootFS: object({ Type: "string", Layers: optional(list("digest")) }),
  Metadata: object({ LastTagTime: "time" }),
});

export const imageSummary = object({
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
    }),
  ),
});

const platform: Shape = object({
  architecture: "string",
  os: "string",
  variant: optional("string"),
  "os.version": optional("string"),
  "os.features": optional(list("string")),
});

export const distribution = object({
  Descriptor: object({
    mediaType: "string",
    digest: "digest",
    size: "integer",
    urls: optional(list("string")),
    platform: optional(platform),
  }),
  // A manifest that isn't of several platforms may name none.
  Platforms: goList(platform),
});
