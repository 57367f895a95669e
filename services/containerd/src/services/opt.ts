import fs from "node:fs";
import path from "node:path";
import type { ContainerdPlugin, PluginContext } from "../plugin.ts";

const TYPE = "io.containerd.internal.v1";
const ID = "opt";

/**
 * The directory that `ctr install` puts programs of an image into, runtimes for example: what is in its `bin` and `lib` is found before
 * what the machine has.
 *
 * @param configured undefined: below the root
 */
export function optPlugin(configured: string | undefined): ContainerdPlugin {
  const directoryIn = ({ root }: PluginContext) => configured ?? path.join(root, `${TYPE}.${ID}`);
  return {
    type: TYPE,
    id: ID,
    requires: [],
    exports: (context) => ({ path: directoryIn(context) }),
    async start(context) {
      const directory = directoryIn(context);
      putFirst("PATH", path.join(directory, "bin"));
      putFirst("LD_LIBRARY_PATH", path.join(directory, "lib"));
      return undefined;
    },
  };
}

function putFirst(variable: string, directory: string): void {
  fs.mkdirSync(directory, { recursive: true, mode: 0o711 });
  const others = process.env[variable];
  process.env[variable] = others ? `${directory}:${others}` : directory;
}
