import { runMain, UsageError } from "@longshore/cli";
import { HELP } from "./flags.ts";

runMain("registry-client", { help: HELP }, async ([command, ...args], signal) => {
  switch (command) {
    case "serve":
      return (await import("./serve.ts")).runServe(args, signal);
    case "pull":
      return (await import("./tool.ts")).runPull(args, signal);
    case "resolve":
      return (await import("./tool.ts")).runResolve(args, signal);
    case "manifest":
      return (await import("./tool.ts")).runManifest(args, signal);
    case undefined:
      throw new UsageError("a command is missing: serve, pull, resolve or manifest");
    default:
      throw new UsageError(
        `unknown command ${JSON.stringify(command)}: use serve, pull, resolve or manifest`,
      );
  }
});
