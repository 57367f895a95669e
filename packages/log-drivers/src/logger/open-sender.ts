import type { JsonFileLog } from "@longshore/stdio";
import type { Remote } from "../driver.ts";
import { openFileSender } from "./file-sender.ts";
import { openJournaldSender } from "./journald-sender.ts";
import type { Sender } from "./sender.ts";
import { openSyslogSender } from "./syslog-sender.ts";

/** What a logger is told, as JSON in a file. */
export type LoggerConfig = { file: JsonFileLog } | { remote: Remote };

/** @throws when what should take the messages isn't there */
export async function openSender(config: LoggerConfig): Promise<Sender> {
  if ("file" in config) return openFileSender(config.file);
  const { remote } = config;
  return remote.driver === "syslog" ? openSyslogSender(remote) : openJournaldSender(remote);
}

/**
 * Whether what should take the messages is there.
 * @throws Error in Docker's words when it isn't
 */
export async function checkReachable(remote: Remote): Promise<void> {
  await (await openSender({ remote })).close();
}
