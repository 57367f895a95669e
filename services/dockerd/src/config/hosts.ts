import { EngineError } from "@longshore/errors";

/** Where the API is served: a unix socket, a TCP port, or sockets that a supervisor has opened (systemd's socket activation). */
export type Host =
  | { kind: "unix"; path: string }
  | { kind: "tcp"; hostname: string; port: number }
  | { kind: "fd"; name: string };

/** Served when nothing else is asked for. */
export const DEFAULT_SOCKET = "/run/longshore/docker.sock";
const DEFAULT_PORT = 2375;
const DEFAULT_TLS_PORT = 2376;

/**
 * A host as `-H` has it: `unix://PATH`, `tcp://HOST:PORT`, `fd://`, `fd://*`, `fd://NUMBER`, or without a scheme `HOST:PORT`. What is left
 * out is as Docker has it: the default socket, localhost, port 2375 or with TLS 2376.
 *
 * @throws EngineError `invalid_argument`
 */
export function parseHost(text: string, { tls }: { tls: boolean }): Host {
  const [, scheme = "tcp", rest = ""] = /^(?:([a-z]+):\/\/)?(.*)$/s.exec(text.trim()) ?? [];
  switch (scheme) {
    case "unix":
      if (rest !== "" && !rest.startsWith("/"))
        throw invalid(`invalid bind address (${text}): the path of a unix socket must be absolute`);
      return { kind: "unix", path: rest || DEFAULT_SOCKET };
    case "fd":
      return { kind: "fd", name: rest === "*" ? "" : rest };
    case "tcp":
      return parseTcp(text, rest, tls ? DEFAULT_TLS_PORT : DEFAULT_PORT);
    default:
      throw invalid(`invalid bind address (${text}): unsupported proto '${scheme}'`);
  }
}

function parseTcp(text: string, rest: string, defaultPort: number): Host {
  const [, bracketed, plain = "", port = ""] =
    /^(?:\[([0-9a-f:.]+)\]|([^[\]:/]*))(?::(\d{0,5}))?$/i.exec(rest) ?? [];
  if ((bracketed === undefined && plain === "" && !/^(:\d*)?$/.test(rest)) || Number(port) > 65_535)
    throw invalid(`invalid bind address (${text}): expected tcp://HOST:PORT`);
  return {
    kind: "tcp",
    hostname: bracketed ?? (plain || "localhost"),
    port: port === "" ? defaultPort : Number(port),
  };
}

/** Whether only this machine reaches an address; names other than localhost are not looked up. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
