import { expect, test } from "bun:test";
import { linkEnvironment } from "./link-environment.ts";
import { parseLink } from "./parse-link.ts";

test("parseLink() reads what clients write and what inspect shows", () => {
  expect(parseLink("db")).toEqual({ name: "db", alias: "db" });
  expect(parseLink("db:store")).toEqual({ name: "db", alias: "store" });
  expect(parseLink("/db:/web/store")).toEqual({ name: "db", alias: "store" });
  for (const text of ["a:b:c", ":b", "a:"]) {
    expect(() => parseLink(text)).toThrow(`bad format for links: ${text}`);
  }
  expect(() => parseLink("")).toThrow("empty string specified for links");
});

test("linkEnvironment() has Docker's variables, TCP first and the lowest port of it", () => {
  const linked = {
    name: "/web/my-db",
    alias: "my-db",
    address: "172.17.0.2",
    env: ["PATH=/bin", "HOME=/", "PASSWORD=gordon=", "BARE"],
    ports: ["6379/udp", "6379/tcp", "80/tcp"],
  };
  expect(linkEnvironment(linked)).toEqual([
    "MY_DB_PORT=tcp://172.17.0.2:80",
    "MY_DB_PORT_80_TCP=tcp://172.17.0.2:80",
    "MY_DB_PORT_80_TCP_ADDR=172.17.0.2",
    "MY_DB_PORT_80_TCP_PORT=80",
    "MY_DB_PORT_80_TCP_PROTO=tcp",
    "MY_DB_PORT_6379_TCP=tcp://172.17.0.2:6379",
    "MY_DB_PORT_6379_TCP_ADDR=172.17.0.2",
    "MY_DB_PORT_6379_TCP_PORT=6379",
    "MY_DB_PORT_6379_TCP_PROTO=tcp",
    "MY_DB_PORT_6379_UDP=udp://172.17.0.2:6379",
    "MY_DB_PORT_6379_UDP_ADDR=172.17.0.2",
    "MY_DB_PORT_6379_UDP_PORT=6379",
    "MY_DB_PORT_6379_UDP_PROTO=udp",
    "MY_DB_NAME=/web/my-db",
    "MY_DB_ENV_PASSWORD=gordon=",
  ]);
});

test("linkEnvironment() tells of ports that follow one another as a range", () => {
  const ports = ["6381/tcp", "6379/tcp", "6380/tcp", "9000/tcp"];
  const lines = linkEnvironment({ name: "/web/r", alias: "r", address: "10.0.0.2", env: [], ports });
  expect(lines).toContain("R_PORT_6379_TCP_START=tcp://10.0.0.2:6379");
  expect(lines).toContain("R_PORT_6379_TCP_PORT_END=6381");
  expect(lines).toContain("R_PORT_6379_TCP_END=tcp://10.0.0.2:6381");
  expect(lines.filter((line) => line.includes("_START="))).toHaveLength(2);
  expect(lines).toContain("R_PORT_9000_TCP_PORT=9000");
});
