import type { ContainerdPlugin } from "./plugin.ts";

/** How `disabled_plugins` and clients name a plugin. */
export function pluginUri({ type, id }: Pick<ContainerdPlugin, "type" | "id">): string {
  return `${type}.${id}`;
}

/** Whether an entry of `requires` means this plugin: its type or its whole name. */
export function satisfies(plugin: Pick<ContainerdPlugin, "type" | "id">, requirement: string): boolean {
  return requirement === "*" || requirement === plugin.type || requirement === pluginUri(plugin);
}

/**
 * The plugins with each after all that it requires; otherwise in the order given. What nothing satisfies is left for the start to
 * complain of.
 * @throws Error when plugins require each other in a circle
 */
export function orderPlugins<P extends Pick<ContainerdPlugin, "type" | "id" | "requires">>(
  plugins: readonly P[],
): P[] {
  const ordered = new Set<P>();
  const visit = (plugin: P, path: readonly P[]): void => {
    if (ordered.has(plugin)) return;
    if (path.includes(plugin)) {
      throw new Error(`plugins require each other: ${[...path, plugin].map(pluginUri).join(" > ")}`);
    }
    for (const requirement of plugin.requires) {
      for (const other of plugins) {
        if (other !== plugin && satisfies(other, requirement)) visit(other, [...path, plugin]);
      }
    }
    ordered.add(plugin);
  };
  for (const plugin of plugins) visit(plugin, []);
  return [...ordered];
}
