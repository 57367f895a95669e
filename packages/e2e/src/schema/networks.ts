import { field, goList, goMap, list, map, nullable, object, optional, words } from "./shape.ts";

export const network = object({
  Name: "string",
  Id: "id",
  Created: "time",
  Scope: words("local", "swarm", "global"),
  Driver: "string",
  // Of 1.48; an engine may be ahead of its version.
  EnableIPv4: field("boolean", { optional: true, engineSince: "1.44" }),
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
  Containers: map(
    object({
      Name: "string",
      EndpointID: "id",
      MacAddress: "string",
      IPv4Address: "string",
      IPv6Address: "string",
    }),
  ),
  Options: nullable(map("string")),
  Labels: nullable(map("string")),
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
