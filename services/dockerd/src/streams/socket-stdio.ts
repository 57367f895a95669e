import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import type { Duplex } from "node:stream";
import { EngineError, isErrno } from "@longshore/errors";
import { formatStdioUri, type JsonFileLog } from "@longshore/stdio";
import type { ProcessStdio } from "./process-stdio.ts";

export interface SocketStdioOptions {
  /** At most 107 bytes, as any unix socket. */
  socketPath: string;
  stdin: boolean;
  terminal: boolean;
  log: JsonFileLog | undefined;
}

/** Stdio that the shim serves on a socket of its own: the `longshore://` scheme. */
export function socketStdio({ socketPath, stdin, terminal, log }: SocketStdioOptions): ProcessStdio {
  fs.mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o700 });
  const uri = formatStdioUri({ socketPath, ...(log && { log }) });
  return {
    kind: "longshore",
    uris: { stdin: stdin ? uri : "", stdout: uri, stderr: terminal ? "" : uri },
    connect: () => connect(socketPath),
    async [Symbol.asyncDispose]() {
      fs.rmSync(socketPath, { force: true });
    },
  };
}

function connect(socketPath: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path: socketPath, allowHalfOpen: true });
    socket.once("connect", () => resolve(socket));
    socket.once("error", (error) => {
      const gone = isErrno(error, "ENOENT", "ECONNREFUSED");
      reject(gone ? new EngineError("not_found", "the process's output has ended", { cause: error }) : error);
    });
  });
}
