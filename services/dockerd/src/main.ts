import { runMain } from "@longshore/cli";
import { createLogger } from "@longshore/log";
import { runDaemon } from "./daemon.ts";
import { HELP, parseFlags } from "./flags.ts";

runMain("dockerd", { help: HELP }, async (argv, signal) => {
  const flags = parseFlags(argv);
  await runDaemon(flags, createLogger("dockerd", { level: flags.logLevel }), signal);
  return 0;
});
