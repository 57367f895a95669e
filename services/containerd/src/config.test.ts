import { expect, test } from "bun:test";
import { DEFAULT_CONFIG, parseConfig, printConfig } from "./config.ts";

test("parseConfig() reads containerd's keys, of versions 2 and 4", () => {
  const two = parseConfig(`
    version = 2
    root = "/data/ctd"
    state = "/run/ctd"
    disabled_plugins = ["io.containerd.grpc.v1.cri"]
    required_plugins = ["io.containerd.grpc.v1.tasks"]
    [grpc]
      address = "/run/ctd.sock"
      max_recv_message_size = 16777216
    [debug]
      level = "debug"
  `);
  expect(two.unknownKeys).toEqual([]);
  expect(two.config).toMatchObject({
    root: "/data/ctd",
    state: "/run/ctd",
    address: "/run/ctd.sock",
    ttrpcAddress: "/run/ctd.sock.ttrpc",
    logLevel: "debug",
    disabledPlugins: ["io.containerd.grpc.v1.cri"],
    requiredPlugins: ["io.containerd.grpc.v1.tasks"],
  });
  const four = parseConfig(`
    version = 4
    [plugins."io.containerd.server.v1.grpc"]
      address = "/run/four.sock"
    [plugins."io.containerd.server.v1.ttrpc"]
      address = "/run/four.ttrpc"
  `);
  expect(four.config).toMatchObject({ address: "/run/four.sock", ttrpcAddress: "/run/four.ttrpc" });
});

test("parseConfig() takes the settings of plugins", () => {
  const { config } = parseConfig('version = 2\n[plugins."io.containerd.internal.v1.opt"]\npath = "/opt/x"');
  expect(config.optPath).toBe("/opt/x");
});

test("parseConfig() refuses by name what is set and not supported, and reports what nobody knows", () => {
  expect(() => parseConfig("oom_score = -999")).toThrow("oom_score = -999 is not supported");
  expect(() => parseConfig('[proxy_plugins.stargz]\ntype = "snapshot"')).toThrow("proxy_plugins.stargz.type");
  expect(() => parseConfig("version = 9")).toThrow("equal to or less than `4`, got `9`");
  expect(() => parseConfig('disabled_plugins = ["cri"]')).toThrow('invalid disabled plugin URI "cri"');
  expect(() => parseConfig("root = 3")).toThrow("root must be a string");
  expect(() => parseConfig("root = ")).toThrow("failed to load TOML");
  expect(parseConfig("colour = 1\n[grpc]\nshade = 2").unknownKeys).toEqual(["colour", "grpc.shade"]);
});

test("parseConfig() passes over the sections of plugins that don't exist here, as the original does", () => {
  const text = '[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "x"\n[timeouts]\n"a.b" = "2s"';
  expect(parseConfig(text).unknownKeys).toEqual([]);
});

test("printConfig() prints what parseConfig() reads", () => {
  const config = { ...DEFAULT_CONFIG, disabledPlugins: ["a.b"], natsUrl: "nats://127.0.0.1:4222" };
  expect(parseConfig(printConfig(config))).toEqual({ config: config as never, unknownKeys: [] });
});
