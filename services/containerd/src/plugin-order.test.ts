import { expect, test } from "bun:test";
import { orderPlugins, pluginUri } from "./plugin-order.ts";

const plugin = (uri: string, ...requires: string[]) => {
  const at = uri.lastIndexOf(".");
  return { type: uri.slice(0, at), id: uri.slice(at + 1), requires };
};
const order = (...plugins: ReturnType<typeof plugin>[]) => orderPlugins(plugins).map(pluginUri);

test("orderPlugins() puts each plugin after all of the type that it requires, and keeps the order otherwise", () => {
  const plugins = [
    plugin("grpc.tasks", "runtime"),
    plugin("runtime.task", "event", "metadata.bolt"),
    plugin("grpc.version"),
    plugin("metadata.bolt", "snapshotter"),
    plugin("snapshotter.native"),
    plugin("snapshotter.overlayfs"),
    plugin("event.exchange"),
  ];
  expect(order(...plugins)).toEqual([
    "event.exchange",
    "snapshotter.native",
    "snapshotter.overlayfs",
    "metadata.bolt",
    "runtime.task",
    "grpc.tasks",
    "grpc.version",
  ]);
});

test("orderPlugins() leaves a requirement that nothing satisfies to the start", () => {
  expect(order(plugin("a.a", "gone"), plugin("b.b"))).toEqual(["a.a", "b.b"]);
});

test("orderPlugins() refuses a circle and names it", () => {
  expect(() => order(plugin("a.a", "b"), plugin("b.b", "a"))).toThrow("a.a > b.b > a.a");
});
