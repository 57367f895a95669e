export { type CredentialHelper, credentialHelper, type Login } from "./credential-helper.ts";
export { ANONYMOUS, type Credentials } from "./credentials.ts";
export { configDirectory, DockerConfig, keyOf } from "./docker-config.ts";
