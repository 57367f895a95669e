import { expect, test } from "bun:test";
import type { ContainerdPlugin, PluginContext } from "./plugin.ts";
import { SkipPlugin } from "./plugin.ts";
import { PluginRegistry } from "./plugin-registry.ts";

const log = { info() {}, warn() {}, child: () => log };
const context = { log } as unknown as PluginContext;
const all = { disabled: [], required: [] };

function plugin(type: string, requires: string[], start: () => unknown): ContainerdPlugin {
  return {
    type,
    id: "x",
    requires,
    start: async () => {
      start();
      return undefined;
    },
  };
}

test("PluginRegistry goes on after a plugin that fails, and does not start what requires it", async () => {
  await using registry = new PluginRegistry();
  const started: string[] = [];
  const plugins = [
    plugin("a", [], () => {
      throw new Error("no kernel support");
    }),
    plugin("b", ["a"], () => started.push("b")),
    plugin("c", [], () => started.push("c")),
    plugin("d", [], () => {
      throw new SkipPlugin("nothing to do");
    }),
  ];
  await registry.start(plugins, context, all);
  expect(started).toEqual(["c"]);
  expect(registry.loaded.map(({ plugin, error }) => [plugin.type, error?.message])).toEqual([
    ["a", "no kernel support"],
    ["b", "no plugins registered for a: plugin not found"],
    ["c", undefined],
    ["d", "nothing to do: skip plugin"],
  ]);
});

test("PluginRegistry leaves disabled plugins out and insists on required ones", async () => {
  await using registry = new PluginRegistry();
  const plugins = [plugin("a", [], () => {}), plugin("b", [], () => {})];
  await registry.start(plugins, context, { disabled: ["a.x"], required: ["b.x"] });
  expect(registry.loaded.map(({ plugin }) => plugin.type)).toEqual(["b"]);
  await using other = new PluginRegistry();
  const required = other.start(plugins, context, { disabled: ["a.x"], required: ["a.x"] });
  expect(required).rejects.toThrow("required plugin [a.x] not included");
});

test("PluginRegistry disposes of plugins in reverse order", async () => {
  const ended: string[] = [];
  const ending = (type: string): ContainerdPlugin => ({
    type,
    id: "x",
    requires: [],
    start: async () => ({
      async [Symbol.asyncDispose]() {
        ended.push(type);
      },
    }),
  });
  const registry = new PluginRegistry();
  await registry.start([ending("a"), ending("b")], context, all);
  await registry[Symbol.asyncDispose]();
  expect(ended).toEqual(["b", "a"]);
});
