import {
  NamespaceCreate,
  NamespaceDelete,
  NamespaceUpdate,
} from "@longshore/api/containerd/events/namespace";
import {
  type Namespace,
  NamespacesDefinition,
} from "@longshore/api/containerd/services/namespaces/v1/namespace";
import { EngineError } from "@longshore/errors";
import { KeyedLock } from "../keyed-lock.ts";
import { type ContainerdPlugin, eventMessage } from "../plugin.ts";
import { NamespaceStore } from "./namespace-store.ts";

/** gRPC: namespaces and their labels. */
export const namespacesPlugin: ContainerdPlugin = {
  type: "io.containerd.grpc.v1",
  id: "namespaces",
  requires: [],
  async start({ server, store, publish }) {
    const namespaces = new NamespaceStore(store);
    const lock = new KeyedLock();
    server.add(NamespacesDefinition, {
      get: async ({ name }) => ({ namespace: { name, labels: await namespaces.labels(name) } }),
      list: async () => ({ namespaces: await namespaces.list() }),
      async create({ namespace }) {
        const { name, labels } = required(namespace);
        using _ = await lock.acquire(name);
        await namespaces.create(name, labels);
        publish(
          name,
          "/namespaces/create",
          eventMessage("NamespaceCreate", NamespaceCreate, { name, labels }),
        );
        return { namespace: { name, labels } };
      },
      async update({ namespace, updateMask }) {
        const { name, labels } = required(namespace);
        using _ = await lock.acquire(name);
        const before = await namespaces.labels(name);
        const updated = updateMask?.length ? masked(before, labels, updateMask) : labels;
        await namespaces.setLabels(name, updated);
        publish(
          name,
          "/namespaces/update",
          eventMessage("NamespaceUpdate", NamespaceUpdate, { name, labels }),
        );
        return { namespace: { name, labels } };
      },
      async delete({ name }) {
        using _ = await lock.acquire(name);
        await namespaces.delete(name);
        publish(name, "/namespaces/delete", eventMessage("NamespaceDelete", NamespaceDelete, { name }));
        return {};
      },
    });
    return undefined;
  },
};

function masked(
  before: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
  mask: readonly string[],
): Record<string, string> {
  const updated = { ...before };
  for (const path of mask) {
    const key = path.startsWith("labels.") ? path.slice("labels.".length) : undefined;
    if (key === undefined) {
      throw new EngineError("invalid_argument", `cannot update ${JSON.stringify(path)} field`);
    }
    updated[key] = labels[key] ?? "";
  }
  return updated;
}

function required(namespace: Namespace | undefined): Namespace {
  if (namespace) return namespace;
  throw new EngineError("invalid_argument", "no namespace given");
}
