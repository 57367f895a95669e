import { afterAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DEFAULT_CONFIG, loadConfig, parseConfig, printConfig } from "./config.ts";

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

test("parseConfig() takes the settings of plugins, and refuses those that it has not", () => {
  const { config } = parseConfig(`
    version = 2
    [plugins."io.containerd.internal.v1.opt"]
      path = "/opt/x"
    [plugins."io.containerd.snapshotter.v1.native"]
      root_path = "/data/native"
    [plugins."io.containerd.differ.v1.walking"]
      confine_unpack = false
      layer_max_bytes = 1000
      layer_max_ratio = 20
    [plugins."io.containerd.gc.v1.scheduler"]
      pause_threshold = 0.9
      deletion_threshold = 5
      mutation_threshold = 7
      schedule_delay = "1m1.5s"
      startup_delay = "0"
  `);
  expect(config.optPath).toBe("/opt/x");
  expect(config.snapshotterRoots).toEqual({ native: "/data/native" });
  expect(config.confineUnpack).toBe(false);
  expect(config.layerLimits).toMatchObject({ maxBytes: 1000, maxRatio: 20 });
  for (const value of ["0", "-1", "1.5", '"much"']) {
    const text = `version = 2\n[plugins."io.containerd.differ.v1.walking"]\nlayer_max_bytes = ${value}`;
    expect(() => parseConfig(text)).toThrow(
      "plugins.io.containerd.differ.v1.walking.layer_max_bytes must be",
    );
  }
  expect(config.gc).toEqual({
    pauseThreshold: 0.5,
    deletionThreshold: 5,
    mutationThreshold: 7,
    scheduleDelayMs: 61_500,
    startupDelayMs: 0,
  });
  const overlay = (key: string) => `[plugins."io.containerd.snapshotter.v1.overlayfs"]\n${key}`;
  expect(() => parseConfig(overlay('mount_options = ["volatile"]'))).toThrow("mount_options");
  expect(parseConfig(overlay("sync_remove = false")).unknownKeys).toEqual([]);
  const scheduler = '[plugins."io.containerd.gc.v1.scheduler"]\nschedule_delay = "5 apples"';
  expect(() => parseConfig(scheduler)).toThrow('invalid duration "5 apples"');
  const sleep = (value: string) =>
    parseConfig(`version = 2\n[plugins."io.containerd.runtime.v2.task"]\nshim_sleep = ${value}\n`).config
      .shimSleepMs;
  expect(['""', '"0s"', '"1m30s"'].map(sleep)).toEqual([undefined, 0, 90_000]);
  expect(() => sleep('"soon"')).toThrow("shim_sleep");
});

describe("imports", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "config-test-"));
  afterAll(() => fs.rmSync(dir, { recursive: true }));
  const write = (name: string, text: string) => {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, name), text);
    return path.join(dir, name);
  };
  const load = (file: string) => loadConfig(new Map([["config", file]])).config;

  test("come over the file that names them, in order, and lists of plugins grow", () => {
    const file = write(
      "main.toml",
      `version = 3
root = "/one"
imports = ["conf.d/*.toml", "${dir}/last.toml"]
disabled_plugins = ["a.b"]
[debug]
level = "debug"
[plugins."io.containerd.gc.v1.scheduler"]
deletion_threshold = 1
mutation_threshold = 1`,
    );
    write("conf.d/1.toml", 'version = 2\nroot = "/two"\ndisabled_plugins = ["c.d"]');
    // Naming each other in a circle is harmless.
    write(
      "conf.d/2.toml",
      `imports = ["../main.toml"]
[plugins."io.containerd.gc.v1.scheduler"]
deletion_threshold = 2`,
    );
    write("last.toml", 'state = "/three"');
    const config = load(file);
    expect(config).toMatchObject({ root: "/two", state: "/three", logLevel: "debug" });
    expect(config.disabledPlugins).toEqual(["a.b", "c.d"]);
    expect(config.gc).toMatchObject({ deletionThreshold: 2, mutationThreshold: 1 });
  });

  test("must be there, unless they are a pattern", () => {
    expect(() => load(write("missing.toml", 'imports = ["none.toml"]'))).toThrow("none.toml: no such file");
    expect(load(write("pattern.toml", 'imports = ["none/*.toml"]')).root).toBe(DEFAULT_CONFIG.root);
    expect(() => load(write("wrong.toml", 'imports = "x"'))).toThrow("imports must be a list");
  });
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
