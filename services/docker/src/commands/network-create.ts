import type { Command } from "../command.ts";
import { print, writeAll } from "../io/output.ts";
import { pairs } from "./given.ts";
import { ipamConfigs } from "./ipam-options.ts";

export const createNetwork: Command = {
  name: "docker network create",
  usage: "[OPTIONS] NETWORK",
  summary: "Create a network",
  arity: { min: 1, max: 1 },
  flags: [
    { name: "attachable", kind: "bool", help: "Enable manual container attachment" },
    { name: "aux-address", kind: "list", help: "Auxiliary IPv4 addresses used by Network driver" },
    {
      name: "config-from",
      kind: "string",
      value: "network",
      help: "The network from which to copy the configuration",
    },
    { name: "config-only", kind: "bool", help: "Create a configuration only network" },
    { name: "driver", short: "d", kind: "string", help: 'Driver to manage the Network (default "bridge")' },
    { name: "gateway", kind: "list", help: "IPv4 Gateway for the subnet" },
    { name: "ingress", kind: "bool", help: "Create swarm routing-mesh network" },
    { name: "internal", kind: "bool", help: "Restrict external access to the network" },
    { name: "ip-range", kind: "list", help: "Allocate container ip from a sub-range" },
    { name: "ipam-driver", kind: "string", help: 'IP Address Management Driver (default "default")' },
    { name: "ipam-opt", kind: "list", help: "Set IPAM driver specific options" },
    { name: "ipv4", kind: "bool", help: "Enable or disable IPv4 address assignment" },
    { name: "ipv6", kind: "bool", help: "Enable or disable IPv6 address assignment" },
    { name: "label", kind: "list", help: "Set metadata on a network" },
    { name: "opt", short: "o", kind: "list", help: "Set driver specific options" },
    { name: "scope", kind: "string", help: "Control the network's scope" },
    { name: "subnet", kind: "list", help: "Subnet in CIDR format that represents a network segment" },
  ],
  async run({ client, flags, args: [Name = ""] }) {
    const configs = ipamConfigs({
      subnets: flags.list("subnet"),
      ranges: flags.list("ip-range"),
      gateways: flags.list("gateway"),
      auxiliary: pairs(flags.list("aux-address")),
    });
    const configFrom = flags.string("config-from");
    const ipamOptions = pairs(flags.list("ipam-opt"));
    const { Id, Warning } = await client.json<{ Id: string; Warning?: string }>({
      method: "POST",
      path: "/networks/create",
      json: {
        Name,
        CheckDuplicate: true,
        Driver: flags.string("driver") || "bridge",
        Internal: flags.bool("internal"),
        Attachable: flags.bool("attachable"),
        Ingress: flags.bool("ingress"),
        Scope: flags.string("scope"),
        ConfigOnly: flags.bool("config-only"),
        ...(configFrom !== "" && { ConfigFrom: { Network: configFrom } }),
        ...(flags.has("ipv4") && { EnableIPv4: flags.bool("ipv4") }),
        ...(flags.has("ipv6") && { EnableIPv6: flags.bool("ipv6") }),
        IPAM: {
          Driver: flags.string("ipam-driver") || "default",
          ...(Object.keys(ipamOptions).length > 0 && { Options: ipamOptions }),
          Config: configs,
        },
        Options: pairs(flags.list("opt")),
        Labels: pairs(flags.list("label")),
      },
    });
    if (Warning) writeAll(2, `${Warning}\n`);
    print(Id);
    return 0;
  },
};
