import { EngineError } from "@longshore/errors";
import { JOINED, networkName } from "../networks/network-mode.ts";
import { ENDPOINT_SYSCTLS } from "../networks/network-request.ts";
import { type CreateRequest, endpointSchema } from "./container-config.ts";

/** A setting of the kernel for one interface: `net.ipv4.conf.eth0.forwarding`. */
const OF_INTERFACE = /^(net\.[^.]*\.[^.]*)\.(eth[^.]*)\.(.+)$/s;

/**
 * Settings of the kernel for `eth0`, as clients of before version 1.48 of the API ask for them in `HostConfig.Sysctls`, made into
 * those of the endpoint on the container's main network: the interface isn't there yet when the container's other settings are made.
 *
 * @throws EngineError in Docker's words for other interfaces, and for newer clients
 */
export function withEndpointSysctls(
  request: CreateRequest,
  atLeast: (version: string) => boolean,
): { request: CreateRequest; warnings: string[] } {
  const { HostConfig } = request;
  const all = Object.entries(HostConfig.Sysctls);
  const found = all.filter(([key]) => OF_INTERFACE.test(key));
  const mode = HostConfig.NetworkMode;
  if (found.length === 0 || mode === "host" || mode.startsWith(JOINED)) return { request, warnings: [] };
  const settings = found.map(([key, value]) => {
    const [, before = "", name = "", after = ""] = OF_INTERFACE.exec(key) ?? [];
    if (atLeast("1.48")) {
      throw new EngineError(
        "internal",
        `interface specific sysctl setting ${JSON.stringify(key)} must be supplied using driver option '${ENDPOINT_SYSCTLS}'`,
      );
    }
    if (name !== "eth0") {
      throw new EngineError(
        "internal",
        `unable to determine network endpoint for sysctl ${key}, use driver option '${ENDPOINT_SYSCTLS}' to set per-interface sysctls`,
      );
    }
    return `${before}.IFNAME.${after}=${value}`;
  });
  const keys = found.map(([key]) => key);
  const main = mainEndpoint(request, { key: keys[0] ?? "", onlyOne: !atLeast("1.44") });
  const endpoint = request.NetworkingConfig.EndpointsConfig[main] ?? endpointSchema.parse({});
  const own = endpoint.DriverOpts[ENDPOINT_SYSCTLS];
  // The last one counts: what the endpoint has of its own.
  const option = [...settings, ...(own === undefined ? [] : [own])].join(",");
  const warning = `Migrated sysctl ${JSON.stringify(keys.join(","))} to DriverOpts{${JSON.stringify(ENDPOINT_SYSCTLS)}:${JSON.stringify(settings.join(","))}}.`;
  return {
    request: {
      ...request,
      HostConfig: {
        ...HostConfig,
        Sysctls: Object.fromEntries(all.filter(([key]) => !keys.includes(key))),
      },
      NetworkingConfig: {
        EndpointsConfig: {
          ...request.NetworkingConfig.EndpointsConfig,
          [main]: { ...endpoint, DriverOpts: { ...endpoint.DriverOpts, [ENDPOINT_SYSCTLS]: option } },
        },
      },
    },
    warnings: [warning],
  };
}

/** By what name the request has, or is to have, the endpoint on the network of the container's mode. */
function mainEndpoint(
  { HostConfig, NetworkingConfig }: CreateRequest,
  { key, onlyOne }: { key: string; onlyOne: boolean },
): string {
  const main = networkName({ hostConfig: HostConfig }) || "bridge";
  const names = Object.keys(NetworkingConfig.EndpointsConfig);
  const [first] = names;
  if (first === undefined) return main;
  if (onlyOne) return first;
  const found = names.find((name) => name === main || (name === "default" && main === "bridge"));
  if (found !== undefined) return found;
  throw new EngineError(
    "invalid_argument",
    `unable to find a network for sysctl ${key}: HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks`,
  );
}
