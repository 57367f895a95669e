import { runMain, UsageError, versionLine } from "@longshore/cli";
import { DEFAULT_CONFIG, loadConfig, printConfig } from "./config.ts";
import { runDaemon } from "./daemon.ts";
import { HELP, parseCommandLine } from "./flags.ts";
import { publish } from "./publish.ts";

/** The daemon and its few commands. */
export function runCommand(): void {
  runMain("containerd", { help: HELP }, async (argv, signal) => {
    const { flags, args, help, version } = parseCommandLine(argv);
    if (help || version) {
      console.log(help ? HELP.trimEnd() : versionLine("containerd"));
      return 0;
    }
    const [command, action, ...rest] = args;
    if (command === undefined) await runDaemon(loadConfig(flags), signal);
    else if (command === "publish" && action === undefined) await publish(flags, signal);
    else if (command === "config" && action === "default" && rest.length === 0) {
      console.log(printConfig(DEFAULT_CONFIG).trimEnd());
    } else if (command === "config" && action === "dump" && rest.length === 0) {
      console.log(printConfig(loadConfig(flags).config).trimEnd());
    } else throw new UsageError(`unknown command ${JSON.stringify(args.join(" "))}`);
    return 0;
  });
}
