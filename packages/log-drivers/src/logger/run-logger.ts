import fs from "node:fs";
import { F_GETFL, F_SETFL, fcntl, O_NONBLOCK } from "@longshore/syscalls";
import { LineSplitter, type LogLine } from "./line-splitter.ts";
import { type LoggerConfig, openSender } from "./open-sender.ts";
import type { Sender } from "./sender.ts";

export { checkReachable, type LoggerConfig } from "./open-sender.ts";

/** The descriptors of containerd's `binary://` loggers. */
const STREAMS = [
  { fd: 3, stream: "stdout" },
  { fd: 4, stream: "stderr" },
] as const;
const READY_FD = 5;

/**
 * Take a container's output to where its log driver wants it, until both streams have ended. Only so much is read as could be handed on: who
 * writes waits for it.
 *
 * @param configFile a `LoggerConfig`
 * @returns how many messages were lost, because what should take them failed
 */
export async function runLogger(configFile: string): Promise<number> {
  const config = JSON.parse(fs.readFileSync(configFile, "utf8")) as LoggerConfig;
  const sender = await openSender(config);
  fs.closeSync(READY_FD);
  const lost = await Promise.all(STREAMS.map(({ fd, stream }) => copy(fd, stream, sender)));
  await sender.close().catch(() => {});
  return lost.reduce((sum, one) => sum + one, 0);
}

async function copy(fd: number, stream: LogLine["stream"], sender: Sender): Promise<number> {
  const splitter = new LineSplitter(stream);
  let lost = 0;
  const sendAll = async (lines: Iterable<LogLine>) => {
    for (const line of lines) {
      await sender.send(line).catch(() => {
        lost++;
      });
    }
  };
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  for await (const chunk of Bun.file(fd).stream()) await sendAll(splitter.push(chunk));
  await sendAll(splitter.end());
  return lost;
}
