import { describe, expect, test } from "bun:test";
import { compareVersions } from "../http/api-version.ts";
import { createRequestSchema } from "./container-config.ts";
import { withEndpointSysctls } from "./interface-sysctls.ts";

const OPTION = "com.docker.network.endpoint.sysctls";

function migrated(version: string, body: object) {
  const request = createRequestSchema.parse({ Image: "busybox", ...body });
  const made = withEndpointSysctls(request, (than) => compareVersions(version, than) >= 0);
  const endpoints = Object.entries(made.request.NetworkingConfig.EndpointsConfig);
  return {
    left: made.request.HostConfig.Sysctls,
    options: Object.fromEntries(endpoints.map(([name, one]) => [name, one?.DriverOpts[OPTION]])),
    warnings: made.warnings,
  };
}

const on = (mode: string, sysctls: object, endpoints: object = {}) => ({
  HostConfig: { NetworkMode: mode, Sysctls: sysctls },
  NetworkingConfig: { EndpointsConfig: endpoints },
});
const eth0 = { "net.ipv4.conf.eth0.forwarding": "1", "net.ipv4.ip_forward": "0" };

describe("withEndpointSysctls()", () => {
  test("makes settings of eth0 those of the main network's endpoint, and tells so", () => {
    expect(migrated("1.47", on("default", eth0))).toEqual({
      left: { "net.ipv4.ip_forward": "0" },
      options: { bridge: "net.ipv4.conf.IFNAME.forwarding=1" },
      warnings: [
        `Migrated sysctl "net.ipv4.conf.eth0.forwarding" to DriverOpts{"${OPTION}":"net.ipv4.conf.IFNAME.forwarding=1"}.`,
      ],
    });
    // Of a name with dots in it only the first part can be an interface.
    const own = { DriverOpts: { [OPTION]: "net.ipv4.conf.IFNAME.log_martians=1" } };
    const two = migrated("1.44", on("b", { "net.ipv6.conf.eth0.a.b": "2" }, { a: {}, b: own }));
    expect(two.options).toEqual({
      a: undefined,
      b: "net.ipv6.conf.IFNAME.a.b=2,net.ipv4.conf.IFNAME.log_martians=1",
    });
  });

  test("takes the only endpoint there is before version 1.44, and refuses one that isn't the mode's from then on", () => {
    expect(migrated("1.43", on("bridge", eth0, { other: {} })).options).toMatchObject({
      other: expect.stringContaining("IFNAME"),
    });
    expect(() => migrated("1.44", on("bridge", eth0, { other: {} }))).toThrow(
      "unable to find a network for sysctl net.ipv4.conf.eth0.forwarding: HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks",
    );
  });

  test("refuses other interfaces, and from version 1.48 on all", () => {
    expect(() => migrated("1.47", on("bridge", { "net.ipv4.conf.eth1.forwarding": "1" }))).toThrow(
      `unable to determine network endpoint for sysctl net.ipv4.conf.eth1.forwarding, use driver option '${OPTION}' to set per-interface sysctls`,
    );
    expect(() => migrated("1.48", on("bridge", eth0))).toThrow(
      `interface specific sysctl setting "net.ipv4.conf.eth0.forwarding" must be supplied using driver option '${OPTION}'`,
    );
  });

  test("leaves alone what shares a network, and what is of no interface", () => {
    for (const mode of ["host", "container:a"])
      expect(migrated("1.55", on(mode, eth0))).toEqual({ left: eth0, options: {}, warnings: [] });
    const plain = { "net.ipv4.conf.all.forwarding": "1" };
    expect(migrated("1.55", on("bridge", plain))).toEqual({ left: plain, options: {}, warnings: [] });
  });
});
