import { LOG_LEVELS } from "@longshore/log";
import type { Options } from "./command.ts";

/** How registries are reached. */
export const REGISTRY: Options = {
  "insecure-registry": {
    value: "HOST",
    repeatable: true,
    help: "Allow plain http and unverified certificates at HOST[:PORT] or in a CIDR",
  },
  "registry-mirror": { value: "URL", repeatable: true, help: "Try this mirror of Docker Hub first" },
  "certs-dir": {
    value: "DIR",
    repeatable: true,
    help: "Certificates and hosts.toml by host (default /etc/docker/certs.d)",
  },
};

export const CONFIG: Options = {
  config: { value: "DIR", help: "Where config.json is (default $DOCKER_CONFIG or ~/.docker)" },
};

/** Who we are there. */
export const LOGIN: Options = {
  username: { short: "u", value: "NAME", help: "Log in as NAME instead of by config.json" },
  "password-stdin": { help: "Read the password from stdin" },
  ...CONFIG,
};

export const CONTAINERD: Options = {
  containerd: {
    value: "SOCK",
    help: "containerd's socket (default /run/longshore/containerd/containerd.sock)",
  },
};

export const NAMESPACE: Options = {
  namespace: { short: "n", value: "NS", help: "containerd namespace (default default)" },
};

export const PLATFORM: Options = {
  platform: { value: "OS/ARCH[/VARIANT]", help: "Of an index, this platform's image" },
};

export const ALL: Options = {
  all: {
    help: "As JSON lines with base64 of the bytes: what the name points to, its config, and of an index all manifests. Exits with 3 when there is none",
  },
};

export const FORMAT: Options = {
  format: { value: "FORMAT", help: "json: one JSON object a line instead of text" },
};

export const LISTEN: Options = {
  address: {
    short: "a",
    value: "SOCK",
    help: "Where to listen (default /run/longshore/registry-client.sock)",
  },
  "log-level": { short: "l", value: "LEVEL", help: `${LOG_LEVELS.join(", ")} (default info)` },
};

export const NONDISTRIBUTABLE: Options = {
  nondistributable: { help: "Push layers too that are marked as not to be passed on" },
};

export const REFERRERS: Options = {
  referrers: { help: "Copy what refers to the image as well: signatures, bills of materials" },
};

export const ARTIFACT_TYPE: Options = {
  "artifact-type": { value: "TYPE", help: "Only referrers of this type" },
};

export const LIMIT: Options = {
  limit: { value: "N", help: "At most so many results, 1 to 100 (default 25)" },
};
