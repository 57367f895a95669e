import { EngineError } from "@longshore/errors";
import { z } from "zod";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? "");
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);
const map = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value) => value ?? {});

const createSchema = z.object({
  Name: text,
  Driver: text,
  Scope: text,
  Internal: flag,
  Attachable: flag,
  Ingress: flag,
  ConfigOnly: flag,
  ConfigFrom: z.object({ Network: text }).nullish(),
  EnableIPv6: flag,
  IPAM: z
    .object({
      Driver: text,
      Options: map,
      Config: z
        .array(z.object({ Subnet: text, IPRange: text, Gateway: text, AuxiliaryAddresses: map }))
        .nullish(),
    })
    .nullish(),
  Options: map,
  Labels: map,
});
type CreateBody = z.output<typeof createSchema>;

/** What isn't carried out; true means that the client asked for it. */
const UNSUPPORTED: Record<string, (body: CreateBody) => boolean> = {
  Scope: ({ Scope }) => !["", "local"].includes(Scope),
  Ingress: ({ Ingress }) => Ingress,
  ConfigOnly: ({ ConfigOnly }) => ConfigOnly,
  ConfigFrom: ({ ConfigFrom }) => Boolean(ConfigFrom?.Network),
  EnableIPv6: ({ EnableIPv6 }) => EnableIPv6,
  "IPAM.Driver": ({ IPAM }) => !["", "default"].includes(IPAM?.Driver ?? ""),
  "IPAM.Options": ({ IPAM }) => Object.keys(IPAM?.Options ?? {}).length > 0,
  "IPAM.Config with several subnets": ({ IPAM }) => (IPAM?.Config?.length ?? 0) > 1,
};

/** `POST /networks/create` */
export async function createNetwork(engine: Engine, call: ApiCall): Promise<void> {
  const body = await call.body(createSchema);
  if (body.Name === "") throw new EngineError("invalid_argument", "network name cannot be empty");
  const driver = body.Driver || "bridge";
  if (driver !== "bridge") throw driverRefusal(driver);
  for (const [field, isAsked] of Object.entries(UNSUPPORTED)) {
    if (isAsked(body)) throw new EngineError("invalid_argument", `${field} is not supported`);
  }
  const config = body.IPAM?.Config?.[0];
  const network = await engine.networks.create({
    name: body.Name,
    ipam: {
      subnet: config?.Subnet ?? "",
      ipRange: config?.IPRange ?? "",
      gateway: config?.Gateway ?? "",
      auxiliary: config?.AuxiliaryAddresses ?? {},
    },
    internal: body.Internal,
    attachable: body.Attachable,
    options: body.Options,
    labels: body.Labels,
  });
  engine.events.emit("network", "create", network.id, { name: network.name, type: network.driver });
  call.json(201, { Id: network.id, Warning: "" });
}

function driverRefusal(driver: string): EngineError {
  if (["host", "null"].includes(driver)) {
    return new EngineError("permission_denied", `only one instance of "${driver}" network is allowed`);
  }
  if (["macvlan", "ipvlan", "overlay"].includes(driver)) {
    return new EngineError("invalid_argument", `network driver ${driver} is not supported`);
  }
  return new EngineError("not_found", `plugin "${driver}" not found`);
}
