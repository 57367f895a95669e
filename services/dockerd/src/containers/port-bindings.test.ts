import { expect, test } from "bun:test";
import type { ContainerRecord } from "./container.ts";
import { exposedPorts, listPorts, portRequests, showPorts } from "./port-bindings.ts";

const of = (
  PortBindings: Record<string, { HostIp: string; HostPort: string }[] | null>,
  ExposedPorts: string[] = [],
) => portRequests({ ExposedPorts }, { PortBindings, PublishAllPorts: ExposedPorts.length > 0 });

test("portRequests() reads bindings in all forms", () => {
  expect(
    of({
      "80/tcp": [{ HostIp: "", HostPort: "8080" }],
      "53/udp": [{ HostIp: "127.0.0.1", HostPort: "5300-5310" }],
      "443": [{ HostIp: "0.0.0.0", HostPort: "" }],
      "9/sctp": null,
      "81/tcp": [{ HostIp: "::1", HostPort: "81" }],
    }),
  ).toEqual([
    { protocol: "tcp", containerPort: 443, hostIp: "0.0.0.0" },
    { protocol: "tcp", containerPort: 80, hostIp: "", hostPorts: [8080, 8080] },
    { protocol: "udp", containerPort: 53, hostIp: "127.0.0.1", hostPorts: [5300, 5310] },
    { protocol: "sctp", containerPort: 9, hostIp: "" },
    { protocol: "tcp", containerPort: 81, hostIp: "::1", hostPorts: [81, 81] },
  ]);
});

test("portRequests() with -P publishes what is exposed and not bound", () => {
  expect(of({ "80/tcp": [{ HostIp: "", HostPort: "8080" }] }, ["80/tcp", "90-91/udp"])).toEqual([
    { protocol: "tcp", containerPort: 80, hostIp: "", hostPorts: [8080, 8080] },
    { protocol: "udp", containerPort: 90, hostIp: "" },
    { protocol: "udp", containerPort: 91, hostIp: "" },
  ]);
});

test.each([
  [{ "80/xyz": null }, 'invalid port specification: "80/xyz"'],
  [{ "0/tcp": null }, 'invalid port specification: "0/tcp"'],
  [{ "80/tcp": [{ HostIp: "", HostPort: "70000" }] }, 'invalid port specification: "70000"'],
  [{ "80/tcp": [{ HostIp: "", HostPort: "20-10" }] }, 'invalid port specification: "20-10"'],
  [{ "80/tcp": [{ HostIp: "1.2.3", HostPort: "80" }] }, 'invalid IP address in port binding: "1.2.3"'],
  [{ "80/tcp": [{ HostIp: "fe80::1%eth0", HostPort: "80" }] }, "invalid IP address in port binding"],
])("portRequests() refuses %j", (bindings, message) => {
  expect(() => of(bindings)).toThrow(message);
});

test("exposedPorts() has each port once, and refuses more than there are", () => {
  expect(exposedPorts(["80", "80/tcp", "79-81/tcp", "80/udp"])).toEqual([
    { port: 80, protocol: "tcp" },
    { port: 79, protocol: "tcp" },
    { port: 81, protocol: "tcp" },
    { port: 80, protocol: "udp" },
  ]);
  const all = ["1-65535/tcp", "1-65535/udp", "1-65535/sctp"];
  expect(exposedPorts(all)).toHaveLength(3 * 65_535);
  expect(() => exposedPorts([...all, "80"])).toThrow("invalid ExposedPorts: more ports than there are");
});

test("a record with an invalid exposed port is shown without exposed ports", () => {
  const ports = [{ protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 }];
  const record = {
    ports,
    config: { ExposedPorts: ["nonsense"] },
    state: { pid: 7 },
  } as unknown as ContainerRecord;
  expect(showPorts(record)).toEqual({ "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }] });
  expect(listPorts(record)).toHaveLength(1);
});
