import { credentialHelper, DockerConfig } from "@longshore/docker-config";
import { proxyEnvironment } from "../registry/proxies.ts";

/** The user's `config.json`; its credential helpers may need the proxies that this process has taken out of its environment. */
export function openConfig(dir?: string): DockerConfig {
  return DockerConfig.read(dir, (name) => credentialHelper(name, proxyEnvironment()));
}
