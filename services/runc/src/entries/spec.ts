import { EngineError } from "@longshore/errors";
import { exists, writeFile } from "@longshore/syscalls";
import { absolute, type Command, print } from "../command.ts";
import { defaultSpec, rootless } from "../default-spec.ts";
import { features } from "../features.ts";

export { runtime } from "../runtime.ts";

export const commands: Record<string, Command> = {
  spec: {
    flags: { bundle: "value", rootless: "switch" },
    aliases: { b: "bundle" },
    args: [0, 0],
    usage: "write a config.json to start from",
    run: (parsed) => {
      const path = `${absolute(parsed.values.get("bundle") ?? ".")}/config.json`;
      if (exists(path)) throw new EngineError("already_exists", "File config.json exists. Remove it first");
      writeFile(
        path,
        JSON.stringify(parsed.switches.has("rootless") ? rootless(defaultSpec()) : defaultSpec(), null, "\t"),
        { mode: 0o666 },
      );
      return 0;
    },
  },
  features: {
    flags: {},
    args: [0, 0],
    usage: "print what is supported, as JSON",
    run: () => {
      print(`${JSON.stringify(features(), null, 4)}\n`);
      return 0;
    },
  },
};
