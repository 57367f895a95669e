import { runMain } from "@longshore/cli";
import { createLogger } from "@longshore/log";
import { loadSettings } from "../config/settings.ts";
import { runDaemon } from "../daemon.ts";
import { HELP, parseFlags } from "../flags.ts";
import { uninstall } from "../system/uninstall.ts";

runMain("dockerd", { help: HELP }, async (argv, signal) => {
  const { validate, uninstall: isUninstall, ...source } = parseFlags(argv);
  const settings = loadSettings(source);
  if (validate) {
    console.error("configuration OK");
    return 0;
  }
  const log = createLogger("dockerd", { level: settings.logLevel, format: settings.logFormat });
  if (isUninstall) {
    await uninstall(settings, log, signal);
    return 0;
  }
  await runDaemon({ settings, source, log, signal });
  return 0;
});
