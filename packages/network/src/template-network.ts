import { EngineError } from "@longshore/errors";
import { newId } from "./ids.ts";
import type { NetworkRecord } from "./records.ts";
import type { CreateNetwork, NetworkFacts } from "./types.ts";

/** A configuration for networks: what `docker network create --config-only` makes. */
export interface TemplateNetwork {
  readonly id: string;
  readonly name: string;
  readonly created: string;
  readonly request: NonNullable<NetworkRecord["template"]>;
}

/** Undefined for a record of another kind. */
export function templateNetwork(
  name: string,
  { id, created, template }: NetworkRecord,
): TemplateNetwork | undefined {
  return template && { id, name, created, request: template };
}

/** The record of a new one. @throws EngineError `permission_denied` in Docker's words for what it can't say */
export function planTemplate(request: CreateNetwork): NetworkRecord {
  const { name: _, configOnly, configFrom, ...template } = request;
  if (configFrom !== undefined) {
    throw new EngineError(
      "permission_denied",
      "a configuration network cannot depend on another configuration network",
    );
  }
  if (request.internal || request.attachable) {
    throw new EngineError(
      "permission_denied",
      "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
    );
  }
  return { id: newId(), driver: "null", created: new Date().toISOString(), template };
}

/**
 * A request for a network with what its configuration says.
 * @throws EngineError `not_found` when there is no such configuration, `permission_denied` for what the request says itself
 */
export function fromTemplate(
  request: CreateNetwork,
  templates: ReadonlyMap<string, TemplateNetwork>,
): CreateNetwork {
  const { configFrom } = request;
  if (configFrom === undefined) return request;
  const { ipam, ipam6, labels, options } = request;
  const says = ipam.subnet !== "" || ipam.ipRange !== "" || ipam.gateway !== "" || ipam6 !== undefined;
  if (says || Object.keys(ipam.auxiliary).length > 0 || Object.keys(labels).length > 0) {
    throw new EngineError(
      "permission_denied",
      "user specified configurations are not supported if the network depends on a configuration network",
    );
  }
  if (Object.keys(options).length > 0) {
    throw new EngineError(
      "permission_denied",
      "network driver options are not supported if the network depends on a configuration network",
    );
  }
  const template = templates.get(configFrom);
  if (!template) {
    throw new EngineError("not_found", `configuration network ${JSON.stringify(configFrom)} does not exist`);
  }
  const { internal, attachable } = request;
  return { ...template.request, internal, attachable, name: request.name, configFrom };
}

/** As the Engine API shows it. */
export function templateFacts({ id, name, created, request }: TemplateNetwork): NetworkFacts {
  const { ipam, ipam6, options, labels } = request;
  return {
    ...{ id, name, created, options, labels, driver: "null", scope: "local" },
    ...{
      internal: false,
      attachable: false,
      enableIpv4: request.withoutIpv4 !== true,
      enableIpv6: ipam6 !== undefined,
      configOnly: true,
    },
    configFrom: "",
    ipam: [ipam, ...(ipam6 ? [ipam6] : [])].flatMap(({ subnet, gateway, ipRange, auxiliary }) =>
      subnet === ""
        ? []
        : {
            ...{ subnet, gateway },
            ...(ipRange !== "" && { ipRange }),
            ...(Object.keys(auxiliary).length > 0 && { auxiliary }),
          },
    ),
    containers: {},
  };
}
