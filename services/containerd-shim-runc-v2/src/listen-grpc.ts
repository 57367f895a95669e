import type { TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import { serve as serveRpc } from "@longshore/rpc";
import { removeIfThere } from "./paths.ts";
import type { Listen } from "./serve.ts";

/** Serve over gRPC, for a containerd that asked for it. */
export const listenGrpc: Listen = async (definitions, handlers, { socket }) => {
  const server = serveRpc();
  for (const definition of definitions) {
    server.add(definition, handlers as unknown as Parameters<typeof server.add<TaskDefinition>>[1]);
  }
  await server.listen(socket);
  return {
    async close() {
      removeIfThere(socket);
      await server.close();
    },
  };
};
