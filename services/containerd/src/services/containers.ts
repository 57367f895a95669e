import {
  ContainerCreate,
  ContainerDelete,
  ContainerUpdate,
} from "@longshore/api/containerd/events/container";
import {
  type Container,
  ContainersDefinition,
} from "@longshore/api/containerd/services/containers/v1/containers";
import { EngineError } from "@longshore/errors";
import type { CallContext } from "@longshore/rpc";
import { KeyedLock } from "../keyed-lock.ts";
import { type FieldLookup, lookupIn, parseFilters } from "../metadata/filter.ts";
import { requireNamespace } from "../namespace.ts";
import { type ContainerdPlugin, eventMessage } from "../plugin.ts";
import { ContainerStore } from "./container-store.ts";
import { NamespaceStore } from "./namespace-store.ts";

/** gRPC: the containers' records. */
export const containersPlugin: ContainerdPlugin = {
  type: "io.containerd.grpc.v1",
  id: "containers",
  requires: [],
  async start({ server, store, publish }) {
    const containers = new ContainerStore(store);
    const namespaces = new NamespaceStore(store);
    const lock = new KeyedLock();

    const list = async (filters: readonly string[], context: CallContext) => {
      const namespace = requireNamespace(context);
      const matches = parseFilters(filters);
      const all = await containers.list(namespace);
      return all.filter((container) => matches(fieldsOf(container)));
    };

    server.add(ContainersDefinition, {
      get: async ({ id }, context) => ({ container: await containers.get(requireNamespace(context), id) }),
      list: async ({ filters }, context) => ({ containers: await list(filters, context) }),
      async *listStream({ filters }, context) {
        for (const container of await list(filters, context)) yield { container };
      },
      async create(request, context) {
        const namespace = requireNamespace(context);
        await namespaces.ensure(namespace);
        const container = await containers.create(namespace, required(request.container));
        const { id, image, runtime } = container;
        const created = { id, image, runtime: { name: runtime?.name ?? "", options: runtime?.options } };
        publish(namespace, "/containers/create", eventMessage("ContainerCreate", ContainerCreate, created));
        return { container };
      },
      async update({ container: wanted, updateMask }, context) {
        const namespace = requireNamespace(context);
        const { id } = required(wanted);
        if (id === "") throw new EngineError("invalid_argument", "Container.ID required");
        using _ = await lock.acquire(`${namespace}/${id}`);
        const container = await containers.update(namespace, required(wanted), updateMask ?? []);
        const { image, labels, snapshotKey } = container;
        const updated = { id, image, labels, snapshotKey };
        publish(namespace, "/containers/update", eventMessage("ContainerUpdate", ContainerUpdate, updated));
        return { container };
      },
      async delete({ id }, context) {
        const namespace = requireNamespace(context);
        using _ = await lock.acquire(`${namespace}/${id}`);
        await containers.delete(namespace, id);
        publish(namespace, "/containers/delete", eventMessage("ContainerDelete", ContainerDelete, { id }));
        return {};
      },
    });
    return undefined;
  },
};

/** The fields that filters know, as containerd's `adaptContainer`. */
function fieldsOf(container: Container): FieldLookup {
  return ([name, ...rest]) => {
    if (name === "id") return container.id || undefined;
    if (name === "image") return container.image || undefined;
    if (name === "runtime") return rest[0] === "name" ? container.runtime?.name || undefined : undefined;
    if (name === "labels") return lookupIn(container.labels, rest);
    return undefined;
  };
}

function required(container: Container | undefined): Container {
  if (container) return container;
  throw new EngineError("invalid_argument", "no container given");
}
