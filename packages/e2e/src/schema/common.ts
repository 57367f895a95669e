import { field, goList, goMap, keySet, list, map, nullable, object, optional, type Shape } from "./shape.ts";

/** What every refusal has for a body. */
export const refusal = object({ message: "string" });

/** Of an answer that only names what was made. */
export const madeId = object({ Id: "id" });

export const health = object({
  Test: optional(goList("string")),
  Interval: optional("integer"),
  Timeout: optional("integer"),
  StartPeriod: optional("integer"),
  StartInterval: optional("integer"),
  Retries: optional("integer"),
});

/** What a container or an image is made of: `Config` of both. */
export const config: Shape = object({
  Hostname: "string",
  Domainname: "string",
  User: "string",
  AttachStdin: "boolean",
  AttachStdout: "boolean",
  AttachStderr: "boolean",
  ExposedPorts: optional(keySet),
  Tty: "boolean",
  OpenStdin: "boolean",
  StdinOnce: "boolean",
  Env: goList("string"),
  Cmd: goList("string"),
  Healthcheck: optional(health),
  ArgsEscaped: optional("boolean"),
  Image: "string",
  Volumes: nullable(keySet),
  WorkingDir: "string",
  Entrypoint: goList("string"),
  NetworkDisabled: optional("boolean"),
  MacAddress: optional("string"),
  OnBuild: field(goList("string"), { engineBefore: "1.52" }),
  Labels: goMap("string"),
  StopSignal: optional("string"),
  StopTimeout: optional("integer"),
  Shell: optional(goList("string")),
});

export const platform: Shape = object({
  architecture: "string",
  os: "string",
  variant: optional("string"),
  "os.version": optional("string"),
  "os.features": optional(list("string")),
});

/** What names a manifest or an index. */
export const descriptor: Shape = object({
  mediaType: "string",
  digest: "digest",
  size: "integer",
  urls: optional(list("string")),
  annotations: optional(map("string")),
  platform: optional(platform),
  artifactType: optional("string"),
});

/** Of where a root file system's data lies: the driver's own. */
export const graphDriver = object({ Data: goMap("string"), Name: "string" });
