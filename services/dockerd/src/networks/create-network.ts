import { EngineError } from "@longshore/errors";
import type { CreateNetwork } from "@longshore/network";
import { z } from "zod";
import { parseFlag } from "../config/parse-flag.ts";
import type { DefaultNetworkOptions } from "../config/settings.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { PREDEFINED } from "./network-mode.ts";
import { validateIpam } from "./validate-ipam.ts";

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
  EnableIPv4: z.boolean().nullish(),
  EnableIPv6: z.boolean().nullish(),
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
type CreateBody = Omit<z.output<typeof createSchema>, "EnableIPv4" | "EnableIPv6"> & Families;

interface Families {
  EnableIPv4: boolean;
  EnableIPv6: boolean;
}

/** What isn't carried out; true means that the client asked for it. */
const UNSUPPORTED: Record<string, (body: CreateBody) => boolean> = {
  Scope: ({ Scope }) => !["", "local"].includes(Scope),
  "IPAM.Options": ({ IPAM }) => Object.keys(IPAM?.Options ?? {}).length > 0,
};
type IpamConfig = NonNullable<NonNullable<CreateBody["IPAM"]>["Config"]>[number];

/** `POST /networks/create` */
export async function createNetwork(engine: Engine, call: ApiCall): Promise<void> {
  const body = withDefaults(await call.body(createSchema), {
    defaults: engine.flags.networkOptions,
    knowsIpv4: call.atLeast("1.48"),
  });
  if (body.Name === "") throw new EngineError("invalid_argument", "invalid name: name is empty");
  if ([...PREDEFINED, "default"].includes(body.Name)) {
    throw new EngineError(
      "permission_denied",
      // With the blank at its end that Docker's words have.
      `operation is not permitted on predefined ${body.Name} network `,
    );
  }
  checkDrivers(body);
  if (body.Ingress)
    throw new EngineError("permission_denied", "Ingress network can only be global scope network");
  if (body.Scope === "swarm") {
    throw new EngineError(
      "permission_denied",
      "cannot create a swarm scoped network when swarm is not active",
    );
  }
  for (const [field, isAsked] of Object.entries(UNSUPPORTED)) {
    if (isAsked(body)) throw new EngineError("invalid_argument", `${field} is not supported`);
  }
  const configs = body.IPAM?.Config ?? [];
  validateIpam(configs);
  const [ipam = ipamRequest(), ...furtherIpam] = configs
    .filter((one) => !isIpv6(one))
    .map((one) => ipamRequest(one));
  const [ipam6 = ipamRequest(), ...furtherIpam6] = configs.filter(isIpv6).map((one) => ipamRequest(one));
  if (furtherIpam.length + furtherIpam6.length > 0) checkSeveral(body);
  const network = await engine.networks.create({
    ...{ name: body.Name, ipam, furtherIpam, withoutIpv4: !body.EnableIPv4 },
    ...(isIpv6Wanted(body, configs) && { ipam6, furtherIpam6 }),
    ...(isOurs(body.Driver) && body.Driver !== "" && { driver: body.Driver }),
    internal: body.Internal,
    attachable: body.Attachable,
    options: body.Options,
    labels: body.Labels,
    configOnly: body.ConfigOnly,
    ...(body.ConfigFrom?.Network && { configFrom: body.ConfigFrom.Network }),
  });
  engine.events.emit("network", "create", network.id, { name: network.name, type: network.driver });
  call.json(201, { Id: network.id, Warning: "" });
}

/** The driver's options that mean a family, where the request itself says nothing of it. */
const FAMILIES = {
  EnableIPv4: "com.docker.network.enable_ipv4",
  EnableIPv6: "com.docker.network.enable_ipv6",
} as const;

/**
 * A request with what the daemon's settings add to it, and its families worked out.
 * @param knowsIpv4 whether its client's version has a choice of IPv4
 * @throws EngineError `invalid_argument` in Docker's words
 */
function withDefaults(
  body: z.output<typeof createSchema>,
  { defaults, knowsIpv4 }: { defaults: DefaultNetworkOptions; knowsIpv4: boolean },
): CreateBody {
  const added = body.ConfigFrom ? {} : (defaults[body.Driver || "bridge"] ?? {});
  const options = { ...added, ...body.Options };
  const family = (name: keyof typeof FAMILIES, asked: boolean | null | undefined, usual: boolean) => {
    const label = FAMILIES[name];
    const option = options[label];
    if (asked == null) return option === undefined ? usual : readFlag(label, option);
    delete options[label];
    return asked;
  };
  const EnableIPv4 = family("EnableIPv4", knowsIpv4 ? body.EnableIPv4 : undefined, true);
  const EnableIPv6 = family("EnableIPv6", body.EnableIPv6, false);
  return { ...body, EnableIPv4, EnableIPv6, Options: options };
}

function readFlag(label: string, text: string): boolean {
  const value = parseFlag(text);
  if (value === undefined)
    throw new EngineError("invalid_argument", `driver-opt ${JSON.stringify(label)} is not a valid bool`);
  return value;
}

function isIpv6({ Subnet, IPRange, Gateway }: IpamConfig): boolean {
  return (Subnet || IPRange || Gateway).includes(":");
}

function isIpv6Wanted({ EnableIPv6 }: CreateBody, configs: readonly IpamConfig[]): boolean {
  const config = configs.find(isIpv6);
  if (EnableIPv6 || !config) return EnableIPv6;
  throw new EngineError("invalid_argument", `subnet ${config.Subnet} needs EnableIPv6`);
}

/** What is asked for of one subnet; of nothing in particular without one. */
function ipamRequest(config?: IpamConfig): CreateNetwork["ipam"] {
  return {
    subnet: config?.Subnet ?? "",
    ipRange: config?.IPRange ?? "",
    gateway: config?.Gateway ?? "",
    auxiliary: config?.AuxiliaryAddresses ?? {},
  };
}

/** @throws EngineError `permission_denied` for more than one subnet of a family on a bridge */
function checkSeveral({ Driver }: CreateBody): void {
  if (["macvlan", "ipvlan"].includes(Driver)) return;
  throw new EngineError("permission_denied", `${Driver || "bridge"} driver doesn't support multiple subnets`);
}

/** @throws EngineError in Docker's words for drivers that this engine hasn't got */
function checkDrivers({ Driver, IPAM }: CreateBody): void {
  if (!isOurs(Driver)) throw driverRefusal(Driver);
  const ipam = IPAM?.Driver || "default";
  if (ipam !== "default") throw new EngineError("not_found", `plugin ${JSON.stringify(ipam)} not found`);
}

function isOurs(driver: string): driver is "" | "bridge" | "macvlan" | "ipvlan" {
  return ["", "bridge", "macvlan", "ipvlan"].includes(driver);
}

function driverRefusal(driver: string): EngineError {
  if (["host", "null"].includes(driver)) {
    return new EngineError("permission_denied", `only one instance of "${driver}" network is allowed`);
  }
  if (driver === "overlay") {
    return new EngineError(
      "permission_denied",
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
    );
  }
  return new EngineError("not_found", `plugin "${driver}" not found`);
}
