export { type Certificates, makeCertificates } from "./certificates.ts";
export { type CommandOptions, type CommandResult, output, run } from "./command.ts";
export { debianImage } from "./debian-image.ts";
export { type Docker, type DockerCli, dockerClis, dockerFor, realDockerClis } from "./docker-cli.ts";
export { type Engine, type EngineOptions, givenNats, startEngine } from "./engine.ts";
export { type EventuallyOptions, eventually } from "./eventually.ts";
export { deleteTables } from "./firewall-tables.ts";
export {
  type EngineScope,
  engineTraces,
  leaksSince,
  removePeersGroups,
  type TraceOptions,
  type Traces,
  traces,
} from "./leaks.ts";
export { NatsServer, natsServer } from "./nats-server.ts";
export {
  lackingForSystemd,
  PrivateSystemd,
  type SystemdOptions,
  systemdDir,
} from "./private-systemd.ts";
export { freePort, pushImage, type Registry, startRegistry } from "./registry.ts";
export { mountsBelow, type TempDir, tempDir } from "./temp-dir.ts";
