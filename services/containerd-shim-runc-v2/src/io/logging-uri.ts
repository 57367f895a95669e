import { EngineError } from "@longshore/errors";

/** Where output goes, as containerd's clients say it: a FIFO's or file's path, or a URI. */
export interface LoggingUri {
  scheme: string;
  /** Decoded. */
  path: string;
  query: URLSearchParams;
}

/** @throws EngineError `invalid_argument` for a path that is not absolute */
export function parseLoggingUri(target: string): LoggingUri {
  const [, scheme, rest = ""] = /^([a-z0-9-]+):\/\/(.*)$/.exec(target) ?? [];
  if (scheme === undefined || scheme === "fifo") {
    return { scheme: "fifo", path: scheme ? rest : target, query: new URLSearchParams() };
  }
  const [encoded = "", search = ""] = rest.split("?");
  const path = decodeURIComponent(encoded);
  if (!path.startsWith("/"))
    throw new EngineError("invalid_argument", `stdio ${target}: the path is not absolute`);
  return { scheme, path, query: new URLSearchParams(search) };
}
