import fs from "node:fs";
import path from "node:path";
import type { Duplex } from "node:stream";
import { EngineError } from "@longshore/errors";
import { formatStdioUri, type JsonFileLog, type LoggerProgram } from "@longshore/stdio";
import type { ProcessStdio } from "./process-stdio.ts";
import { SocketStream } from "./socket-stream.ts";

export interface SocketStdioOptions {
  /** At most 107 bytes, as any unix socket. */
  socketPath: string;
  stdin: boolean;
  terminal: boolean;
  log?: JsonFileLog | undefined;
  logger?: LoggerProgram | undefined;
}

/** Stdio that the shim serves on a socket of its own: the `longshore://` scheme. */
export function socketStdio({ socketPath, stdin, terminal, log, logger }: SocketStdioOptions): ProcessStdio {
  fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o700 });
  const uri = formatStdioUri({ socketPath, ...(log && { log }), ...(logger && { logger }) });
  return {
    kind: "longshore",
    uris: { stdin: stdin ? uri : "", stdout: uri, stderr: terminal ? "" : uri },
    connect: () => connect(socketPath),
    started: () => {}, // the shim has the socket and the input from the beginning
    async [Symbol.asyncDispose]() {
      fs.rmSync(socketPath, { force: true });
    },
  };
}

async function connect(socketPath: string): Promise<Duplex> {
  try {
    return await SocketStream.connect(socketPath);
  } catch (cause) {
    throw new EngineError("not_found", "the process's output has ended", { cause });
  }
}
