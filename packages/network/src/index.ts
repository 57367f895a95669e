export { hostsFile } from "./hosts-file.ts";
export { openNetworks } from "./networks.ts";
export { removeLeftovers } from "./remove-leftovers.ts";
export {
  containerResolvConf,
  type DnsSettings,
  formatResolvConf,
  hostResolvConf,
  parseResolvConf,
  readHostResolvConf,
} from "./resolv-conf.ts";
export { storedNetworks } from "./stored-networks.ts";
export { type AddressPoolSetting, checkPools } from "./subnet-choice.ts";
export type {
  AddressCount,
  Attachment,
  CreateNetwork,
  DefaultBridge,
  Endpoint,
  FirewallFacts,
  NetworkFacts,
  Networks,
  NetworksOptions,
  PortBinding,
  PortRequest,
  Sandbox,
  SandboxRequest,
} from "./types.ts";
