import { afterEach, expect, test } from "bun:test";
import fs from "node:fs";
import { PortReservations } from "./ports.ts";

let reservations = new PortReservations();
afterEach(() => {
  reservations[Symbol.dispose]();
  reservations = new PortReservations();
});
const at = (hostIp: string, port = 0) =>
  ({
    protocol: "tcp",
    containerPort: 80,
    hostIp,
    ...(port && { hostPorts: [port, port] as const }),
  }) as const;
const sockets = () => fs.readdirSync("/proc/self/fd").length;

test("PortReservations: one socket holds a port of all addresses, of both families", () => {
  const before = sockets();
  const bindings = reservations.reserve([at(""), at("")], { ipv6: "all" });
  expect(bindings.map(({ hostIp }) => hostIp)).toEqual(["0.0.0.0", "::", "0.0.0.0", "::"]);
  expect(bindings[0]?.hostPort).toBe(bindings[1]?.hostPort ?? 0);
  expect(bindings[0]?.hostPort).not.toBe(bindings[2]?.hostPort ?? 0);
  expect(sockets()).toBe(before + 2);
  const port = bindings[0]?.hostPort ?? 0;
  for (const address of ["0.0.0.0", "127.0.0.1", "::", "::1"]) {
    expect(() => reservations.reserve([at(address, port)], { ipv6: "all" })).toThrow(
      "failed: port is already allocated",
    );
  }
  // Others don't get it either.
  const listen = (hostname: string) => Bun.listen({ hostname, port, socket: { data() {} } });
  for (const address of ["127.0.0.1", "::1"]) expect(() => listen(address)).toThrow("Failed to listen");
  reservations.release(bindings);
  expect(sockets()).toBe(before);
  using mine = listen("127.0.0.1");
  expect(() => reservations.reserve([at("", port)], { ipv6: "all" })).toThrow(
    `failed to bind host port for 0.0.0.0:${port}: address already in use`,
  );
  expect(mine.port).toBe(port);
  expect(sockets()).toBe(before + 1);
});

test("PortReservations.restore() holds what was given out, and tells what others have", () => {
  const bindings = reservations.reserve([at(""), at("127.0.0.1"), at("::1")], { ipv6: "all" });
  reservations[Symbol.dispose]();
  const before = sockets();
  reservations = new PortReservations();
  expect(reservations.restore(bindings)).toEqual([]);
  expect(sockets()).toBe(before + 3);
  using other = new PortReservations();
  expect(other.restore(bindings)).toEqual(bindings);
  expect(sockets()).toBe(before + 3);
});

test("PortReservations: what a container without IPv6 can't have", () => {
  expect(() => reservations.reserve([at("::1")], { ipv6: "none" })).toThrow(
    "tcp can't be published at [::1]: the container has no IPv6",
  );
  expect(reservations.reserve([at("")], { ipv6: "none" })).toHaveLength(1);
});
