import { expect, test } from "bun:test";
import { containerResolvConf, formatResolvConf, parseResolvConf } from "./resolv-conf.ts";

const convert = (text: string, dns = {}) => formatResolvConf(containerResolvConf(parseResolvConf(text), dns));

test("containerResolvConf() keeps the servers that a container can reach", () => {
  expect(
    convert(`# a comment
nameserver 127.0.0.1
nameserver 10.0.0.53
nameserver fd00::53
search example.org corp.example.org
options ndots:2 edns0
options timeout:1
sortlist 10.0.0.0
`),
  ).toBe(`nameserver 10.0.0.53
search example.org corp.example.org
options ndots:2 edns0 timeout:1
sortlist 10.0.0.0
`);
});

test("containerResolvConf() falls back to public servers when none can be reached", () => {
  expect(convert("nameserver 127.0.0.53\nnameserver ::1\n")).toBe("nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
  expect(convert("")).toBe("nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
});

test("containerResolvConf() puts the user's settings in the host's place", () => {
  const host = "nameserver 10.0.0.53\nsearch example.org\noptions ndots:2\n";
  const dns = { nameservers: ["127.0.0.1"], search: ["."], options: ["edns0"] };
  expect(convert(host, dns)).toBe("nameserver 127.0.0.1\noptions edns0\n");
});
