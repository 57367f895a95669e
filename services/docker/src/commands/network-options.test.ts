import { expect, test } from "bun:test";
import { parseFlags } from "../flags.ts";
import { NETWORK_FLAGS, networkOptions } from "./network-options.ts";

const options = (...argv: string[]) => networkOptions(parseFlags(argv, { flags: NETWORK_FLAGS }).flags);

test("networkOptions() reads both forms of --network, each with all that can be said of an endpoint", () => {
  const { mode, endpoints } = options(
    ...["--network", "name=web,alias=a,alias=b,ip=10.0.0.9,gw-priority=-3,mac-address=02:42:00:00:00:01"],
    ...["--network", "other"],
  );
  expect(mode).toBe("web");
  expect(endpoints).toEqual({
    web: {
      IPAMConfig: { IPv4Address: "10.0.0.9" },
      Aliases: ["a", "b"],
      GwPriority: -3,
      MacAddress: "02:42:00:00:00:01",
    },
    other: {},
  });
  expect(options("--network", "name=x,driver-opt=com.docker.network.endpoint.sysctls=a=b").endpoints).toEqual(
    {
      x: { DriverOpts: { "com.docker.network.endpoint.sysctls": "a=b" } },
    },
  );
});

test("networkOptions() refuses what contradicts itself or makes no sense", () => {
  expect(() => options("--network", "name=web,ip=10.0.0.9", "--ip", "10.0.0.8")).toThrow(
    "conflicting options: cannot specify both --ip and per-network IPv4 address",
  );
  expect(() => options("--network", "alias=web")).toThrow("network name is not specified");
  expect(() => options("--network", "name=web,nope=1")).toThrow("invalid field key nope");
  expect(() => options("--network", "name=web,gw-priority=high")).toThrow("invalid gw-priority (high)");
});
