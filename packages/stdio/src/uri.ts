import { EngineError } from "@longshore/errors";

/** Where a container's output is kept besides being sent to whoever is attached. */
export interface JsonFileLog {
  path: string;
  /** Rotate when the file has reached this size; never when left out. */
  maxSizeBytes?: number;
  /** How many files there may be, the current one included; 1 when left out. */
  maxFiles?: number;
  /** Whether rotated files are compressed with gzip. Needs a size and at least two files. */
  compress?: boolean;
  /** What each entry tells besides, as its `attrs`. */
  attributes?: Readonly<Record<string, string>>;
}

/** A program that gets the output too, as containerd's `binary://` URIs define it. */
export interface LoggerProgram {
  /** `binary://PATH?…` */
  uri: string;
  /** It may lag so many bytes behind; lines beyond are dropped, and nobody waits for it. Left out: the process waits. */
  bufferBytes?: number;
  /** Where the number of dropped lines is written. Needs `bufferBytes`. */
  droppedFile?: string;
}

/** What a `longshore://` stdio URI says. */
export interface StdioUri {
  /** The unix socket at which the shim lets clients attach. */
  socketPath: string;
  log?: JsonFileLog;
  logger?: LoggerProgram;
}

const SCHEME = "longshore://";
const PARAMETERS = new Set(
  "log log-path max-size max-file compress attrs logger logger-buffer logger-dropped".split(" "),
);

/** Whether a stdio field of a task request is ours, and not a FIFO or another scheme of the original shim. */
export function isStdioUri(text: string): boolean {
  return text.startsWith(SCHEME);
}

/**
 * `longshore://SOCKET_PATH?log=json-file&log-path=FILE&max-size=BYTES&max-file=N&compress=true&attrs=JSON`, and for a program
 * `&logger=URI&logger-buffer=BYTES&logger-dropped=FILE`
 */
export function formatStdioUri({ socketPath, log, logger }: StdioUri): string {
  const query = new URLSearchParams();
  if (log) {
    query.set("log", "json-file");
    query.set("log-path", log.path);
    if (log.maxSizeBytes !== undefined) query.set("max-size", String(log.maxSizeBytes));
    if (log.maxFiles !== undefined) query.set("max-file", String(log.maxFiles));
    if (log.compress) query.set("compress", "true");
    if (log.attributes) query.set("attrs", JSON.stringify(log.attributes));
  }
  if (logger) {
    query.set("logger", logger.uri);
    if (logger.bufferBytes !== undefined) query.set("logger-buffer", String(logger.bufferBytes));
    if (logger.droppedFile !== undefined) query.set("logger-dropped", logger.droppedFile);
  }
  const path = socketPath.split("/").map(encodeURIComponent).join("/");
  return `${SCHEME}${path}${query.size > 0 ? `?${query}` : ""}`;
}

/** @throws EngineError `invalid_argument` for a path that is not absolute, an unknown log driver, parameter or number */
export function parseStdioUri(text: string): StdioUri {
  const [path = "", search = ""] = text.slice(SCHEME.length).split("?");
  const socketPath = decodeURIComponent(path);
  const query = parseQuery(search);
  for (const name of query.keys()) {
    if (!PARAMETERS.has(name)) throw invalid(text, `unknown parameter ${name}`);
  }
  if (!isStdioUri(text) || !socketPath.startsWith("/"))
    throw invalid(text, "the socket path is not absolute");
  const program = loggerOf(text, query);
  const logger = program && { logger: program };
  const driver = query.get("log");
  if (driver === undefined || driver === "none") return { socketPath, ...logger };
  if (driver !== "json-file") throw invalid(text, `unknown log driver ${driver}`);
  const logPath = query.get("log-path");
  if (!logPath?.startsWith("/")) throw invalid(text, "log-path is not absolute");
  const maxSizeBytes = positive(text, query, "max-size");
  const maxFiles = positive(text, query, "max-file");
  const compress = query.get("compress");
  if (compress !== undefined && compress !== "true" && compress !== "false")
    throw invalid(text, "compress is neither true nor false");
  if (compress === "true" && (maxSizeBytes === undefined || (maxFiles ?? 1) < 2))
    throw invalid(text, "compress needs max-size, and max-file of at least 2");
  const attributes = attributesOf(text, query.get("attrs"));
  return {
    socketPath,
    ...logger,
    log: {
      path: logPath,
      ...(maxSizeBytes !== undefined && { maxSizeBytes }),
      ...(maxFiles !== undefined && { maxFiles }),
      ...(compress === "true" && { compress: true }),
      ...(attributes && { attributes }),
    },
  };
}

function loggerOf(uri: string, query: ReadonlyMap<string, string>): LoggerProgram | undefined {
  const program = query.get("logger");
  if (program === undefined) return undefined;
  if (!program.startsWith("binary:///")) throw invalid(uri, "logger is no binary:// URI");
  const bufferBytes = positive(uri, query, "logger-buffer");
  const droppedFile = query.get("logger-dropped");
  return {
    uri: program,
    ...(bufferBytes !== undefined && { bufferBytes }),
    ...(droppedFile !== undefined && { droppedFile }),
  };
}

function attributesOf(uri: string, text: string | undefined): Record<string, string> | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, string>;
  } catch {
    // told below
  }
  throw invalid(uri, "attrs is no JSON object");
}

/** As URLSearchParams, which would cost each shim 30 kB. */
function parseQuery(search: string): Map<string, string> {
  const decode = (text: string) => decodeURIComponent(text.replaceAll("+", " "));
  const query = new Map<string, string>();
  for (const pair of search.split("&").filter(Boolean)) {
    const [name = "", ...value] = pair.split("=");
    query.set(decode(name), decode(value.join("=")));
  }
  return query;
}

function positive(uri: string, query: ReadonlyMap<string, string>, name: string): number | undefined {
  const text = query.get(name);
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,14}$/.test(text)) throw invalid(uri, `${name} is not a positive number`);
  return Number(text);
}

function invalid(uri: string, why: string): EngineError {
  return new EngineError("invalid_argument", `stdio ${uri}: ${why}`);
}
