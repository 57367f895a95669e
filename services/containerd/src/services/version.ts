import { VersionDefinition } from "@longshore/api/containerd/services/version/v1/version";
import { COMMIT, VERSION } from "@longshore/cli";
import type { ContainerdPlugin } from "../plugin.ts";

export const versionPlugin: ContainerdPlugin = {
  type: "io.containerd.grpc.v1",
  id: "version",
  requires: [],
  async start({ server }) {
    server.add(VersionDefinition, {
      version: () => ({ version: VERSION, revision: COMMIT }),
    });
    return undefined;
  },
};
