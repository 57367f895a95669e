import path from "node:path";
import {
  AF_UNIX,
  bindUnix,
  close,
  fixedBuffer,
  receive,
  SOCK_DGRAM,
  setsockopt,
  socket,
} from "@longshore/syscalls";

const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
/** struct timeval */
const TWENTY_SECONDS = new Uint8Array(new BigInt64Array([20n, 0n]).buffer);

/** A supervisor's end of the readiness protocol (sd_notify(3)). */
export interface NotifySocket extends Disposable {
  /** For the daemon's `NOTIFY_SOCKET`. */
  readonly path: string;
  /** What is told next. @throws Error after 20 s without a word */
  told(): string;
}

export function notifySocket(dir: string): NotifySocket {
  const fd = socket(AF_UNIX, SOCK_DGRAM);
  const socketPath = path.join(dir, "notify");
  bindUnix(fd, socketPath);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, TWENTY_SECONDS);
  return {
    path: socketPath,
    told() {
      const into = fixedBuffer(256);
      return into.toString("utf8", 0, receive(fd, into));
    },
    [Symbol.dispose]: () => close(fd),
  };
}
