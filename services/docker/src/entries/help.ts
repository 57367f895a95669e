import type { Command } from "../command.ts";
import { commands as archivesCommands } from "./archives.ts";
import { commands as attachCommands } from "./attach.ts";
import { commands as contextCommands } from "./context.ts";
import { commands as cpCommands } from "./cp.ts";
import { commands as createCommands } from "./create.ts";
import { commands as dialStdioCommands } from "./dial-stdio.ts";
import { commands as diffCommands } from "./diff.ts";
import { commands as diskUsageCommands } from "./disk-usage.ts";
import { commands as eventsCommands } from "./events.ts";
import { commands as execCommands } from "./exec.ts";
import { commands as historyCommands } from "./history.ts";
import { commands as imagesCommands } from "./images.ts";
import { commands as infoCommands } from "./info.ts";
import { commands as inspectCommands } from "./inspect.ts";
import { commands as lifecycleCommands } from "./lifecycle.ts";
import { commands as loginCommands } from "./login.ts";
import { commands as logsCommands } from "./logs.ts";
import { commands as manifestCommands } from "./manifest.ts";
import { commands as networkCommands } from "./network.ts";
import { commands as portCommands } from "./port.ts";
import { commands as pruneCommands } from "./prune.ts";
import { commands as psCommands } from "./ps.ts";
import { commands as pullCommands } from "./pull.ts";
import { commands as pushCommands } from "./push.ts";
import { commands as rmiCommands } from "./rmi.ts";
import { commands as runCommands } from "./run.ts";
import { commands as searchCommands } from "./search.ts";
import { commands as startCommands } from "./start.ts";
import { commands as statsCommands } from "./stats.ts";
import { commands as tagCommands } from "./tag.ts";
import { commands as topCommands } from "./top.ts";
import { commands as updateCommands } from "./update.ts";
import { commands as versionCommands } from "./version.ts";
import { commands as volumeCommands } from "./volume.ts";

export { cli } from "../cli.ts";

/** All of them, for the help about them and for words that name none. */
export const commands: Record<string, Command> = {
  ...archivesCommands,
  ...dialStdioCommands,
  ...diffCommands,
  ...diskUsageCommands,
  ...historyCommands,
  ...pruneCommands,
  ...pushCommands,
  ...loginCommands,
  ...searchCommands,
  ...networkCommands,
  ...volumeCommands,
  ...attachCommands,
  ...contextCommands,
  ...cpCommands,
  ...createCommands,
  ...execCommands,
  ...imagesCommands,
  ...infoCommands,
  ...inspectCommands,
  ...lifecycleCommands,
  ...logsCommands,
  ...manifestCommands,
  ...psCommands,
  ...pullCommands,
  ...rmiCommands,
  ...runCommands,
  ...startCommands,
  ...tagCommands,
  ...topCommands,
  ...eventsCommands,
  ...portCommands,
  ...statsCommands,
  ...updateCommands,
  ...versionCommands,
};
