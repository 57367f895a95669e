import { expect, test } from "bun:test";
import { parseExpose, parsePublish } from "./ports.ts";

const publish = (text: string) =>
  parsePublish(text).map(({ port, HostIp, HostPort }) => `${HostIp}|${HostPort}|${port}`);

test.each([
  ["80", ["||80/tcp"]],
  ["8080:80", ["|8080|80/tcp"]],
  ["127.0.0.1:8080:80/udp", ["127.0.0.1|8080|80/udp"]],
  ["127.0.0.1::80", ["127.0.0.1||80/tcp"]],
  ["[::1]:8080:80", ["::1|8080|80/tcp"]],
  ["8000-8010:80", ["|8000-8010|80/tcp"]],
  ["8000-8001:80-81/sctp", ["|8000|80/sctp", "|8001|81/sctp"]],
  ["80-81", ["||80/tcp", "||81/tcp"]],
])("parsePublish() reads %s", (text, expected) => {
  expect(publish(text)).toEqual(expected);
});

test.each([
  ["80/xyz", "invalid proto: xyz"],
  ["8080:", "no port specified: 8080:<empty>"],
  ["0:80", "invalid hostPort: 0"],
  ["8080:99999", "invalid containerPort: 99999"],
  ["1-3:80-81", "invalid ranges specified for container and host Ports: 80-81 and 1-3"],
])("parsePublish() refuses %s", (text, message) => {
  expect(() => parsePublish(text)).toThrow(message);
});

test("parseExpose() reads ports and ranges", () => {
  expect(parseExpose("53/udp")).toEqual(["53/udp"]);
  expect(parseExpose("8000-8002")).toEqual(["8000/tcp", "8001/tcp", "8002/tcp"]);
  expect(() => parseExpose("1:2")).toThrow("invalid port format for --expose: 1:2");
});
