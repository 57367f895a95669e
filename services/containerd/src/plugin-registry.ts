import { EngineError } from "@longshore/errors";
import type { ContainerdPlugin, PluginContext } from "./plugin.ts";
import { SkipPlugin } from "./plugin.ts";
import { orderPlugins, pluginUri, satisfies } from "./plugin-order.ts";

/** A plugin that was to be started, and what kept it from it. */
export interface LoadedPlugin {
  readonly plugin: ContainerdPlugin;
  readonly exports: Readonly<Record<string, string>>;
  readonly error: Error | undefined;
}

export interface StartOptions {
  disabled: readonly string[];
  required: readonly string[];
}

/** The daemon's plugins: starts them in order, knows how that went, and stops them in reverse. */
export class PluginRegistry implements AsyncDisposable {
  readonly #loaded: LoadedPlugin[] = [];
  readonly #started = new AsyncDisposableStack();

  /** In the order they were started. */
  get loaded(): readonly LoadedPlugin[] {
    return this.#loaded;
  }

  /**
   * Start all but the disabled ones. One that fails is logged and does not stop the others, unless it is required.
   * @throws EngineError `failed_precondition` when a required plugin is missing or failed
   */
  async start(
    plugins: readonly ContainerdPlugin[],
    context: PluginContext,
    { disabled, required }: StartOptions,
  ): Promise<void> {
    const enabled = plugins.filter((plugin) => !disabled.includes(pluginUri(plugin)));
    const missing = required.filter((uri) => !enabled.some((plugin) => pluginUri(plugin) === uri));
    if (missing.length > 0) {
      throw new EngineError("failed_precondition", `required plugin [${missing.join(" ")}] not included`);
    }
    for (const plugin of orderPlugins(enabled)) {
      const uri = pluginUri(plugin);
      const error = await this.#startOne(plugin, context);
      this.#loaded.push({ plugin, exports: plugin.exports?.(context) ?? {}, error });
      if (!error) continue;
      const fields = { id: uri, type: plugin.type, err: error };
      if (error instanceof SkipPlugin) context.log.info(fields, "skip loading plugin");
      else context.log.warn(fields, "failed to load plugin");
      if (required.includes(uri)) {
        throw new EngineError("failed_precondition", `load required plugin ${uri}: ${error.message}`);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#started.disposeAsync();
  }

  async #startOne(plugin: ContainerdPlugin, context: PluginContext): Promise<Error | undefined> {
    for (const requirement of plugin.requires) {
      if (requirement === "*") continue;
      const there = this.#loaded.some(({ plugin: other, error }) => !error && satisfies(other, requirement));
      if (!there)
        return new EngineError("not_found", `no plugins registered for ${requirement}: plugin not found`);
    }
    const log = context.log.child({ plugin: pluginUri(plugin) });
    try {
      this.#started.use(await plugin.start({ ...context, log }));
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }
}
