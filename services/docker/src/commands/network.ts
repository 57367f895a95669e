import type { Command } from "../command.ts";
import { checkInteger } from "../flags.ts";
import { type Column, formatList } from "../format/list.ts";
import { goTime, shortId } from "../format/text.ts";
import { confirm } from "../io/ask.ts";
import { writeAll } from "../io/output.ts";
import { FILTER_FLAG, parseFilters } from "./filters.ts";
import { onlyGiven, pairs } from "./given.ts";
import { forEachName } from "./parallel.ts";

const TABLE = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

interface Network {
  Id: string;
  Name: string;
  Driver: string;
  Scope: string;
  Internal: boolean;
  /** Of engines that can do without it. */
  EnableIPv4?: boolean;
  EnableIPv6: boolean;
  Created: string;
  Labels: Record<string, string> | null;
}

const at = (name: string) => `/networks/${encodeURIComponent(name)}`;

export const listNetworks: Command = {
  name: "docker network ls",
  usage: "[OPTIONS]",
  summary: "List networks",
  arity: { min: 0, max: 0 },
  flags: [
    FILTER_FLAG,
    {
      name: "format",
      kind: "string",
      help: "Format output using a custom template: 'table', 'json' or a Go template",
    },
    { name: "no-trunc", kind: "bool", help: "Do not truncate the output" },
    { name: "quiet", short: "q", kind: "bool", help: "Only display network IDs" },
  ],
  async run({ client, flags }) {
    const networks = await client.json<Network[]>({
      path: "/networks",
      query: { filters: parseFilters(flags.list("filter")) },
    });
    networks.sort((a, b) => (a.Name < b.Name ? -1 : 1));
    const columns = networkColumns(!flags.bool("no-trunc"));
    const format = flags.string("format") || "table";
    const labels = ({ Labels }: Network) => Labels;
    writeAll(
      1,
      formatList(networks, {
        type: "*network.networkContext",
        columns,
        labels,
        format,
        usual: TABLE,
        quiet: flags.bool("quiet"),
      }),
    );
    return 0;
  },
};

function networkColumns(trunc: boolean): Readonly<Record<string, Column<Network>>> {
  return {
    ID: { header: "NETWORK ID", value: ({ Id }) => (trunc ? shortId(Id) : Id) },
    Name: { header: "NAME", value: ({ Name }) => Name },
    Driver: { header: "DRIVER", value: ({ Driver }) => Driver },
    Scope: { header: "SCOPE", value: ({ Scope }) => Scope },
    IPv4: { header: "IPV4", value: ({ EnableIPv4 = true }) => String(EnableIPv4) },
    IPv6: { header: "IPV6", value: ({ EnableIPv6 }) => String(EnableIPv6) },
    Internal: { header: "INTERNAL", value: ({ Internal }) => String(Internal) },
    CreatedAt: { header: "CREATED AT", value: ({ Created }) => goTime(Date.parse(Created) / 1000) },
    Labels: {
      header: "LABELS",
      value: ({ Labels }) =>
        Object.entries(Labels ?? {})
          .map((entry) => entry.join("="))
          .sort()
          .join(","),
    },
  };
}

export const removeNetworks: Command = {
  name: "docker network rm",
  usage: "NETWORK [NETWORK...]",
  summary: "Remove one or more networks",
  arity: { min: 1 },
  flags: [{ name: "force", short: "f", kind: "bool", help: "Do not error if the network does not exist" }],
  run({ client, args, flags }) {
    const force = flags.bool("force");
    return forEachName(args, async (name) => {
      try {
        return await client.text({ method: "DELETE", path: at(name) });
      } catch (error) {
        if (force && error instanceof Error && error.message.includes("not found")) return "";
        throw error;
      }
    });
  },
};

export const connectNetwork: Command = {
  name: "docker network connect",
  usage: "[OPTIONS] NETWORK CONTAINER",
  summary: "Connect a container to a network",
  arity: { min: 2, max: 2 },
  flags: [
    { name: "alias", kind: "list", help: "Add network-scoped alias for the container" },
    { name: "driver-opt", kind: "list", help: "driver options for the network" },
    {
      name: "gw-priority",
      kind: "string",
      check: checkInteger,
      help: "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
    },
    { name: "ip", kind: "string", help: 'IPv4 address (e.g., "172.30.100.104")' },
    { name: "ip6", kind: "string", help: 'IPv6 address (e.g., "2001:db8::33")' },
    { name: "link", kind: "list", help: "Add link to another container" },
    { name: "link-local-ip", kind: "list", help: "Add a link-local address for the container" },
  ],
  async run({ client, flags, args: [network = "", Container = ""] }) {
    const ipam = onlyGiven({
      IPv4Address: flags.string("ip"),
      IPv6Address: flags.string("ip6"),
      LinkLocalIPs: flags.list("link-local-ip"),
    });
    await client.text({
      method: "POST",
      path: `${at(network)}/connect`,
      json: {
        Container,
        EndpointConfig: {
          ...onlyGiven({
            IPAMConfig: ipam,
            Links: flags.list("link"),
            Aliases: flags.list("alias"),
            DriverOpts: pairs(flags.list("driver-opt")),
            GwPriority: Number(flags.string("gw-priority") || 0),
          }),
        },
      },
    });
    return 0;
  },
};

export const disconnectNetwork: Command = {
  name: "docker network disconnect",
  usage: "[OPTIONS] NETWORK CONTAINER",
  summary: "Disconnect a container from a network",
  arity: { min: 2, max: 2 },
  flags: [
    { name: "force", short: "f", kind: "bool", help: "Force the container to disconnect from a network" },
  ],
  async run({ client, flags, args: [network = "", Container = ""] }) {
    await client.text({
      method: "POST",
      path: `${at(network)}/disconnect`,
      json: { Container, Force: flags.bool("force") },
    });
    return 0;
  },
};

export const pruneNetworks: Command = {
  name: "docker network prune",
  usage: "[OPTIONS]",
  summary: "Remove all unused networks",
  arity: { min: 0, max: 0 },
  flags: [
    { name: "force", short: "f", kind: "bool", help: "Do not prompt for confirmation" },
    {
      name: "filter",
      kind: "list",
      value: "filter",
      help: 'Provide filter values (e.g. "until=<timestamp>")',
    },
  ],
  async run({ client, flags }) {
    const warning = "WARNING! This will remove all custom networks not used by at least one container.";
    if (!flags.bool("force") && !confirm(warning)) return 0;
    const { NetworksDeleted } = await client.json<{ NetworksDeleted: string[] | null }>({
      method: "POST",
      path: "/networks/prune",
      query: { filters: parseFilters(flags.list("filter")) },
    });
    if (NetworksDeleted?.length) writeAll(1, `Deleted Networks:\n${NetworksDeleted.join("\n")}\n\n`);
    return 0;
  },
};
