import { expect, test } from "bun:test";
import { parseFlags } from "../flags.ts";
import { parseConfig } from "./config-file.ts";
import { loadSettings } from "./settings.ts";

const parse = (config: object | string, ...argv: string[]) =>
  parseConfig(typeof config === "string" ? config : JSON.stringify(config), parseFlags(argv).flags);

test("parseConfig() takes Docker's keys; an empty file asks for nothing", () => {
  expect(parse(" \n")).toEqual({});
  expect(
    parse({
      hosts: ["unix:///x.sock"],
      containerd: "unix:///c.sock",
      debug: true,
      "log-opts": { "max-size": "1m", "max-file": "3" },
      runtimes: { other: { path: "/usr/bin/other", runtimeArgs: ["--debug"] } },
      "live-restore": true,
      ...{ ipv6: true, ip6tables: true, "fixed-cidr-v6": "fd00::/64" },
      ...{ icc: false, ip: "127.0.0.1", "ip-masq": false, mtu: 1400 },
    }),
  ).toEqual({
    ...{ ipv6: true, "fixed-cidr-v6": "fd00::/64" },
    ...{ icc: false, ip: "127.0.0.1", "ip-masq": false, mtu: 1400 },
    hosts: ["unix:///x.sock"],
    containerd: "/c.sock",
    debug: true,
    "log-opts": { "max-size": "1m", "max-file": "3" },
    runtimes: { other: { path: "/usr/bin/other", runtimeArgs: ["--debug"] } },
    "live-restore": true,
  });
  expect(
    parse({
      "default-shm-size": "128M",
      "default-ulimits": { nofile: { Name: "nofile", Soft: 10, Hard: 20 } },
      features: { "containerd-snapshotter": true },
      "shutdown-timeout": 0,
    }),
  ).toEqual({
    "default-shm-size": 128 << 20,
    "default-ulimits": { nofile: { Soft: 10, Hard: 20 } },
    "shutdown-timeout": 0,
  });
});

test("parseConfig() takes pools of addresses, name servers and the host's address, by flags as well", () => {
  const pools = [{ base: "10.9.0.0/16", size: 24 }];
  expect(parse({ "default-address-pools": pools, dns: ["192.0.2.53"], "host-gateway-ips": ["::1"] })).toEqual(
    {
      "default-address-pools": pools,
      dns: ["192.0.2.53"],
      "host-gateway-ips": ["::1"],
    },
  );
  const { flags } = parseFlags([
    ...["--default-address-pool", "base=10.9.0.0/16,size=24", "--dns", "192.0.2.53"],
    ...["--dns-search", "example.org", "--dns-opt", "ndots:2", "--host-gateway-ip", "192.0.2.1"],
  ]);
  expect(flags).toEqual({
    "default-address-pools": pools,
    ...{ dns: ["192.0.2.53"], "dns-search": ["example.org"], "dns-opts": ["ndots:2"] },
    "host-gateway-ips": ["192.0.2.1"],
  });
  expect(() => parse({ "default-address-pools": [{ base: "10.9.0.0/16", size: 8 }] })).toThrow(
    "invalid default address pool 10.9.0.0/16, size 8: the size must be 16 to 30",
  );
  expect(() => parseFlags(["--dns", "nowhere"])).toThrow("nowhere is not an IP address");
});

test("parseConfig() refuses what a flag gives as well, in Docker's words; runtimes may come from both", () => {
  expect(() =>
    parse({ hosts: ["unix:///b"], debug: false, bip: "10.0.0.1/8" }, "-H", "unix:///a", "-D"),
  ).toThrow(
    "the following directives are specified both as a flag and in the configuration file: debug: (from flag: true, from file: false), hosts: (from flag: [unix:///a], from file: [unix:///b])",
  );
  expect(() => parse({ "log-opts": { "max-size": "2m" } }, "--log-opt", "max-size=1m")).toThrow(
    "log-opts: (from flag: map[max-size:1m], from file: map[max-size:2m])",
  );
  expect(parse({ runtimes: { a: { path: "/a" } } }, "--add-runtime", "b=/b")).toEqual({
    runtimes: { a: { path: "/a" } },
  });
});

test("parseConfig() refuses keys that nobody knows, values of the wrong kind, and by name what is not supported", () => {
  expect(() => parse({ nope: 1, debug: true, neither: {} })).toThrow(
    "the following directives don't match any configuration option: nope, neither",
  );
  expect(() => parse({ debug: "yes" })).toThrow(/^debug: .*boolean/);
  expect(() => parse({ hosts: "unix:///x" })).toThrow(/^hosts: .*array/);
  expect(() => parse({ hosts: ["npipe:////x"] })).toThrow("unsupported proto 'npipe'");
  expect(() => parse({ runtimes: { a: { path: "/a", more: 1 } } })).toThrow(/^runtimes\.a: .*more/);
  expect(() => parse({ "log-driver": "gelf" })).toThrow("no log driver named 'gelf' is registered");
  expect(() => parse({ "insecure-registries": ["http://r:5000"] })).toThrow("should not contain '://'");
  expect(() => parse({ "insecure-registries": ["10.0.0.0/8"] })).not.toThrow();
  expect(() => parse({ "insecure-registries": ["10.0.0.0/33"] })).toThrow(
    "invalid CIDR address: 10.0.0.0/33",
  );
  expect(() => parse({ "max-concurrent-downloads": -1 })).toThrow("invalid max concurrent downloads: -1");
  expect(() => parse({ "max-download-attempts": 0 })).toThrow("invalid max download attempts: 0");
  expect(parse({ proxies: { "http-proxy": "http://p:1" } })).toEqual({ "http-proxy": "http://p:1" });
  expect(() => parse({ proxies: { "ftp-proxy": "x" } })).toThrow("configuration option: ftp-proxy");
  expect(() => parse({ "registry-mirrors": ["m.example"] })).toThrow("invalid mirror: m.example");
  expect(() => parse({ experimental: true })).toThrow("experimental: true is not supported");
  expect(() => parse({ "userns-remap": "a:b:c" })).toThrow(
    'userns-remap: Invalid userns-remap specification in "a:b:c"',
  );
  expect(() => parse({ iptables: false })).toThrow("iptables: false is not supported");
  expect(() => parse({ bridge: "none" })).toThrow('bridge: "none" is not supported');
  expect(() => parse({ bridge: "a-name-for-no-link" })).toThrow("bridge: no name for an interface");
  expect(() => parse({ mtu: 10 })).toThrow("mtu: not 0, for the default, nor from 68 to 65535");
  expect(() => parse({ ip: "::1" })).toThrow("ip: ::1 is no IPv4 address");
  expect(() => parse({ ip6tables: false })).toThrow("ip6tables: false is not supported");
  expect(() => parse({ bip6: "10.0.0.1/8" })).toThrow("invalid CIDR address: 10.0.0.1/8");
  expect(() => parse({ "default-gateway": "fd00::1" })).toThrow(
    "default-gateway: fd00::1 is no IPv4 address",
  );
  expect(() => parse({ "fixed-cidr": "fd00::/64" })).toThrow("invalid CIDR address: fd00::/64");
  expect(() => parse({ "fixed-cidr-v6": "10.0.0.0/8" })).toThrow("invalid CIDR address: 10.0.0.0/8");
  expect(() => parse({ features: { "windows-dns-proxy": true } })).toThrow("is not supported");
  expect(() => parse({ "default-ipc-mode": "host" })).toThrow(
    "default IPC mode can only be private or shareable",
  );
  expect(() => parse({ "default-shm-size": "much" })).toThrow("invalid size: 'much'");
  expect(() => parse({ "default-ulimits": { nofile: { Soft: 2, Hard: 1 } } })).toThrow(
    "soft limit must be less",
  );
  expect(() => parse({ "default-ulimits": { files: { Soft: 1, Hard: 1 } } })).toThrow(
    "invalid ulimit type: files",
  );
  expect(() => parse({ "metrics-addr": "9323" })).toThrow("expected HOST:PORT");
  expect(() => parse({ "shutdown-timeout": "1" })).toThrow(/^shutdown-timeout: .*number/);
  expect(() => parse("[1]")).toThrow("the file must hold an object");
  expect(() => parse("{")).toThrow("invalid JSON");
});

test("parseFlags() knows the flags by both names, with and without =; refuses Docker's others by name", () => {
  const line = ["-l", "warn", "--host=unix:///a", "-H", "unix:///b", "--debug=false", "--label", "a=b"];
  expect(parseFlags([...line, "--config-file", "/f", "--validate"])).toEqual({
    flags: { "log-level": "warn", hosts: ["unix:///a", "unix:///b"], debug: false, labels: ["a=b"] },
    configFile: "/f",
    validate: true,
    uninstall: false,
  });
  expect(
    parseFlags(["--default-ulimit", "nofile=10:20", "--default-ulimit=core=5", "--shutdown-timeout", "-1"])
      .flags,
  ).toEqual({
    "default-ulimits": { nofile: { Soft: 10, Hard: 20 }, core: { Soft: 5, Hard: 5 } },
    "shutdown-timeout": -1,
  });
  expect(() => parseFlags(["--shutdown-timeout", "soon"])).toThrow(
    'invalid argument "soon" for "--shutdown-timeout" flag: strconv.ParseInt: parsing "soon": invalid syntax',
  );
  expect(() => parseFlags(["--iptables=false"])).toThrow("--iptables is not supported");
  expect(() => parseFlags(["--storage-opt", "x=y"])).toThrow("--storage-opt is not supported");
  expect(() => parseFlags(["--nope"])).toThrow("unknown flag: --nope");
  expect(() => parseFlags(["--bip"])).toThrow("flag needs an argument: --bip");
  expect(() => parseFlags(["--log-level", "loud"])).toThrow("unknown log level: loud");
  expect(() => parseFlags(["--add-runtime", "x"])).toThrow("expected NAME=PATH");
});

test("loadSettings() takes what is set of the default bridge, and refuses what is of IPv6 without it", () => {
  const load = (flags: object) => loadSettings({ flags, configFile: undefined });
  const given = { bip6: "fd00::1/64", "fixed-cidr": "10.1.4.0/24", "default-gateway": "10.1.0.9" };
  expect(load({ ...given, ipv6: true, "fixed-cidr-v6": "" })).toMatchObject({
    ...{ ipv6: "" },
    defaultBridge: { bip6: "fd00::1/64", ipRange: "10.1.4.0/24", router: "10.1.0.9" },
  });
  for (const [key, value] of [
    ["bip6", "fd00::1/64"],
    ["fixed-cidr-v6", "fd00::/64"],
    ["default-gateway-v6", "fd00::9"],
  ] as const)
    expect(() => load({ [key]: value })).toThrow(`${key} is of no use without ipv6`);
});
