import { field, goList, goMap, list, map, nullable, object, optional, words } from "./shape.ts";

const facts = {
  Name: "string",
  Id: "id",
  Created: "time",
  Scope: words("local", "swarm", "global"),
  Driver: "string",
  EnableIPv4: field("boolean", { engineSince: "1.48" }),
  EnableIPv6: "boolean",
  IPAM: object({
    Driver: "string",
    Options: goMap("string"),
    Config: goList(
      object({
        Subnet: optional("string"),
        IPRange: optional("string"),
        Gateway: optional("string"),
        AuxiliaryAddresses: optional(map("string")),
      }),
    ),
  }),
  Internal: "boolean",
  Attachable: "boolean",
  Ingress: "boolean",
  ConfigFrom: object({ Network: "string" }),
  ConfigOnly: "boolean",
  Options: nullable(map("string")),
  Labels: nullable(map("string")),
} as const;

const members = map(
  object({
    Name: "string",
    EndpointID: "id",
    MacAddress: "string",
    IPv4Address: "string",
    IPv6Address: "string",
  }),
);
const counts = object({ IPsInUse: "integer", DynamicIPsAvailable: "integer" });

export const network = object({
  ...facts,
  Containers: members,
  Status: field(object({ IPAM: object({ Subnets: optional(map(counts)) }) }), { since: "1.52" }),
});

/** In lists newer engines tell of members only to clients of before 1.28. */
export const networkSummary = object({
  ...facts,
  Containers: field(members, { engineBefore: "1.52" }),
});

export const madeNetwork = object({ Id: "id", Warning: "string" });
export const prunedNetworks = object({ NetworksDeleted: goList("string") });

export const volume = object({
  CreatedAt: "time",
  Driver: "string",
  Labels: goMap("string"),
  Mountpoint: "string",
  Name: "string",
  Options: goMap("string"),
  Scope: words("local", "global"),
  Status: optional(map("anything")),
  UsageData: optional(object({ RefCount: "integer", Size: "integer" })),
});

export const volumes = object({ Volumes: list(volume), Warnings: goList("string") });
export const prunedVolumes = object({ VolumesDeleted: goList("string"), SpaceReclaimed: "integer" });
