import type { Duplex } from "node:stream";

/** What of a connection's first bytes was no request of HTTP/1.1, and how it is refused where that isn't simply a bad one. */
const STATUS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
};

/** The client begins with HTTP/2 without having asked whether it may. */
const BEGINS_HTTP2 = "HPE_PAUSED_H2_UPGRADE";

/** Types of frames, and the reason that sends a client back to HTTP/1.1 (RFC 9113, 6.5, 6.8 and 7). */
const SETTINGS = 4;
const GOAWAY = 7;
const HTTP_1_1_REQUIRED = 0x0d;

/** Refuse what isn't a request, in the client's own protocol, and end the connection. */
export function refuseGarbage(error: Error & { code?: string }, socket: Duplex): void {
  const code = error.code ?? "";
  if (!socket.writable || code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  if (code === BEGINS_HTTP2) socket.end(http2Refusal());
  else socket.end(`HTTP/1.1 ${STATUS[code] ?? "400 Bad Request"}\r\nConnection: close\r\n\r\n`);
}

/** The server's part of the preface, and that it takes no stream. */
function http2Refusal(): Buffer {
  const lastStream = [0, 0, 0, 0];
  return Buffer.concat([frame(SETTINGS, []), frame(GOAWAY, [...lastStream, 0, 0, 0, HTTP_1_1_REQUIRED])]);
}

function frame(type: number, payload: readonly number[]): Buffer {
  const [noFlags, noStream] = [0, [0, 0, 0, 0]];
  return Buffer.from([0, 0, payload.length, type, noFlags, ...noStream, ...payload]);
}
