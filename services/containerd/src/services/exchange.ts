import type { Exchange } from "../events/exchange.ts";
import type { ContainerdPlugin } from "../plugin.ts";
import { NamespaceStore } from "./namespace-store.ts";

/**
 * The exchange itself exists before any plugin; as a plugin it is what others require. It also sees to it that a namespace is there
 * once something happened in it.
 */
export function exchangePlugin(exchange: Exchange): ContainerdPlugin {
  return {
    type: "io.containerd.event.v1",
    id: "exchange",
    requires: [],
    async start({ store, log }) {
      const namespaces = new NamespaceStore(store);
      const known = new Set<string>();
      const listening = exchange.listen(({ namespace, topic }) => {
        if (topic === "/namespaces/delete") known.delete(namespace);
        else if (!known.has(namespace) && /\/(create|prepare)$/.test(topic)) {
          known.add(namespace);
          namespaces
            .ensure(namespace)
            .catch((error: unknown) => log.warn({ err: error, namespace }, "namespace not recorded"));
        }
      });
      return {
        async [Symbol.asyncDispose]() {
          listening[Symbol.dispose]();
        },
      };
    },
  };
}
