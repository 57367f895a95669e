import type { Command } from "./command.ts";
import {
  ALL,
  ARTIFACT_TYPE,
  CONFIG,
  CONTAINERD,
  FORMAT,
  LIMIT,
  LISTEN,
  LOGIN,
  NAMESPACE,
  NONDISTRIBUTABLE,
  PLATFORM,
  REFERRERS,
  REGISTRY,
} from "./option-groups.ts";

/** Every command, in the order of the help. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: "Serve all of this over gRPC (longshore.registry.v1), for dockerd",
    usage: "",
    arity: [0, 0],
    options: { ...LISTEN, ...CONTAINERD, ...REGISTRY },
    load: async () => (await import("../commands/serve.ts")).serve,
  },
  pull: {
    summary: "Pull an image into a containerd; prints its digest",
    usage: "REF",
    arity: [1, 1],
    options: { ...NAMESPACE, ...PLATFORM, ...CONTAINERD, ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/pull.ts")).pullImage,
  },
  push: {
    summary: "Push an image of a containerd to the registry of its name, or as REF",
    usage: "IMAGE [REF]",
    arity: [1, 2],
    options: { ...NAMESPACE, ...PLATFORM, ...NONDISTRIBUTABLE, ...CONTAINERD, ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/push.ts")).pushImage,
  },
  copy: {
    summary: "Copy an image from one registry to another, or within one; prints its digest",
    usage: "SOURCE DESTINATION",
    arity: [2, 2],
    details:
      "Nothing is kept on this machine. Blobs that both repositories' registry has are mounted, not sent.",
    options: { ...PLATFORM, ...NONDISTRIBUTABLE, ...REFERRERS, ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/copy.ts")).copyImage,
  },
  list: {
    summary: "Print the tags of a repository, or the repositories of a registry",
    usage: "REPOSITORY|HOST/",
    arity: [1, 1],
    details: "A name that ends in a slash is a registry: its catalog is printed.",
    options: { ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/list.ts")).list,
  },
  inspect: {
    summary: "Print what an image is, as JSON: digest, platforms, layers, configuration, tags",
    usage: "REF",
    arity: [1, 1],
    options: { ...PLATFORM, ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/inspect.ts")).inspectImage,
  },
  referrers: {
    summary: "Print what refers to an image: signatures, bills of materials",
    usage: "REF",
    arity: [1, 1],
    options: { ...ARTIFACT_TYPE, ...FORMAT, ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/referrers.ts")).printReferrers,
  },
  search: {
    summary: "Search Docker Hub, or with HOST/TERM the catalog of another registry",
    usage: "TERM",
    arity: [1, 1],
    options: { ...LIMIT, ...FORMAT, ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/search.ts")).searchImages,
  },
  delete: {
    summary: "Delete an image from its registry, with all its tags",
    usage: "REF",
    arity: [1, 1],
    options: { ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/delete.ts")).deleteImage,
  },
  login: {
    summary:
      "Check credentials at a registry, and keep them in Docker's config.json or its credential helper",
    usage: "[HOST]",
    arity: [0, 1],
    options: { ...LOGIN, ...REGISTRY },
    load: async () => (await import("../commands/login.ts")).login,
  },
  logout: {
    summary: "Forget the credentials for a registry",
    usage: "[HOST]",
    arity: [0, 1],
    options: { ...CONFIG },
    load: async () => (await import("../commands/login.ts")).logout,
  },
  resolve: {
    summary: "Print what a name points to, as JSON",
    usage: "REF",
    arity: [1, 1],
    options: { ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/resolve.ts")).resolveImage,
  },
  manifest: {
    summary: "Print a manifest or an index, byte by byte as the registry has it",
    usage: "REF",
    arity: [1, 1],
    options: { ...ALL, ...PLATFORM, ...REGISTRY, ...LOGIN },
    load: async () => (await import("../commands/resolve.ts")).printManifest,
  },
};

export function overview(): string {
  const width = Math.max(...Object.entries(COMMANDS).map(([name, { usage }]) => `${name} ${usage}`.length));
  return [
    "Usage: registry-client COMMAND [OPTIONS]",
    "",
    "Moves container images between registries and containerd, and asks registries about them.",
    "",
    "Commands:",
    ...Object.entries(COMMANDS).map(
      ([name, { usage, summary }]) => `  ${`${name} ${usage}`.padEnd(width)}   ${summary}`,
    ),
    "",
    "REF is an image's name as docker takes it: HOST[:PORT]/PATH[:TAG][@DIGEST], or PATH at Docker Hub.",
    "`registry-client COMMAND --help` tells the options of a command.",
  ].join("\n");
}
