import { expect, test } from "bun:test";
import { parseFlags } from "../flags.ts";
import { parseConfig } from "./config-file.ts";
import { UNSUPPORTED } from "./options.ts";
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

test("each option of Docker's daemon is carried out, or refused by its name", () => {
  // `dockerd --help` and the keys of its configuration, as of Docker 29.
  const wanted: Record<string, unknown> = {
    "allow-direct-routing": true,
    "bridge-accept-fwmark": "0x1",
    builder: { gc: { enabled: true } },
    "cdi-spec-dirs": ["/etc/cdi"],
    "containerd-plugin-namespace": "others",
    "cpu-rt-period": 1000,
    "cpu-rt-runtime": 1000,
    "cri-containerd": true,
    "default-init": "/sbin/init",
    experimental: true,
    features: { "containerd-snapshotter": false },
    "firewall-backend": "iptables",
    "host-gateway-ip": "192.0.2.1",
    ip6tables: false,
    "ip-forward": false,
    "ip-forward-no-drop": true,
    iptables: false,
    "network-control-plane-mtu": 1400,
    "network-diagnostic-port": 2000,
    "node-generic-resources": ["gpu=1"],
    "nri-opts": { enable: true },
    "resolv-conf": "/etc/other",
    rootless: true,
    "selinux-enabled": true,
    "storage-driver": "zfs",
    "storage-opts": ["size=1G"],
    "swarm-default-advertise-addr": "192.0.2.1",
    "swarm-raft-election-tick": 3,
    "swarm-raft-heartbeat-tick": 3,
    "userland-proxy": true,
    "userland-proxy-path": "/proxy",
  };
  for (const [key, value] of Object.entries(wanted))
    expect(() => parse({ [key]: value })).toThrow(`${key}: ${JSON.stringify(value)} is not supported`);
  // Those are the only ones that aren't carried out, and each may say what is so anyway.
  const older = ["allow-nondistributable-artifacts", "api-cors-header"];
  expect(Object.keys(UNSUPPORTED).sort()).toEqual([...Object.keys(wanted), ...older].sort());
  for (const [key, { harmless }] of Object.entries(UNSUPPORTED))
    for (const value of harmless) expect(parse({ [key]: value })).toEqual({});
  const flags =
    "add-runtime allow-direct-routing authorization-plugin bip bip6 bridge bridge-accept-fwmark cdi-spec-dir cgroup-parent config-file containerd containerd-namespace containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-root debug default-address-pool default-cgroupns-mode default-gateway default-gateway-v6 default-ipc-mode default-network-opt default-runtime default-shm-size default-stop-timeout default-ulimit dns dns-opt dns-search exec-opt exec-root experimental feature firewall-backend fixed-cidr fixed-cidr-v6 group host host-gateway-ip http-proxy https-proxy icc init init-path insecure-registry ip ip-forward ip-forward-no-drop ip-masq ip6tables iptables ipv6 label live-restore log-driver log-format log-level log-opt max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr mtu network-control-plane-mtu network-diagnostic-port no-new-privileges no-proxy node-generic-resource pidfile raw-logs registry-mirror rootless seccomp-profile selinux-enabled shutdown-timeout storage-driver storage-opt swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify userland-proxy userland-proxy-path userns-remap validate";
  for (const flag of flags.split(" ")) expect(() => parseFlags([`--${flag}=`])).not.toThrow(/unknown flag/);
  for (const flag of ["--feature=a=b", "--cdi-spec-dir=/etc/cdi", "--userland-proxy", "--nri-opts=x", "-s"])
    expect(() => parseFlags([flag])).toThrow(`${flag.split("=")[0]} is not supported`);
});

test("options of networks by driver, and how long containers have to stop, by flag and by the file", () => {
  const mtu = "com.docker.network.driver.mtu";
  const { flags } = parseFlags([
    ...["--default-network-opt", `bridge=${mtu}=1400`, `--default-network-opt=bridge=a=b=c`],
    ...["--default-network-opt", "macvlan=parent=eth1", "--default-stop-timeout=3"],
  ]);
  expect(flags).toEqual({
    "default-network-opts": { bridge: { [mtu]: "1400", a: "b=c" }, macvlan: { parent: "eth1" } },
    "default-stop-timeout": 3,
  });
  const load = (values: object) => loadSettings({ flags: values, configFile: undefined });
  expect(load(flags)).toMatchObject({
    networkOptions: { bridge: { [mtu]: "1400" } },
    stopTimeoutSeconds: 3,
  });
  expect(load({}).stopTimeoutSeconds).toBe(10);
  expect(() => parseFlags(["--default-network-opt", "bridge=mtu"])).toThrow(
    'invalid value "bridge=mtu" for map option, should be root-key=key=value',
  );
  expect(() => parse({ "default-stop-timeout": -1 })).toThrow("invalid default stop timeout: -1");
});

test("min-api-version is between the oldest and the newest; the environment's counts more than the file's", () => {
  const min = (value: string) => () => parse({ "min-api-version": value });
  expect(min("1.44")()).toEqual({ "min-api-version": "1.44" });
  expect(min("v1.44")).toThrow('API version must be provided without "v" prefix');
  expect(min("1.23")).toThrow("minimum supported API version is 1.24: 1.23");
  expect(min("many")).toThrow("minimum supported API version is 1.24: many");
  expect(min("1.56")).toThrow("maximum supported API version is 1.55: 1.56");
  expect(() => parseFlags(["--min-api-version", "1.44"])).toThrow("unknown flag: --min-api-version");
  const load = () => loadSettings({ flags: { "min-api-version": "1.30" }, configFile: undefined });
  expect(load().minApiVersion).toBe("1.30");
  process.env.DOCKER_MIN_API_VERSION = "1.44";
  try {
    expect(load().minApiVersion).toBe("1.44");
    process.env.DOCKER_MIN_API_VERSION = "1.2";
    expect(load).toThrow("invalid DOCKER_MIN_API_VERSION: minimum supported API version is 1.24: 1.2");
  } finally {
    delete process.env.DOCKER_MIN_API_VERSION;
  }
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
