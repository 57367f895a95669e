export { connectStdio, type StdioClient, type StdioClientHandlers } from "./client.ts";
export {
  encodeFrame,
  FRAME_HEADER_BYTES,
  frameHeader,
  STDERR,
  STDIN,
  STDOUT,
  StdioFrameDecoder,
} from "./frame.ts";
export {
  type JsonFileEvents,
  JsonFileWriter,
  type LogStream,
  MAX_LINE_BYTES,
  type SuspendedLog,
} from "./json-file.ts";
export { rotatedFile, withNames } from "./rotated-files.ts";
export {
  formatStdioUri,
  isStdioUri,
  type JsonFileLog,
  type LoggerProgram,
  parseStdioUri,
  type StdioUri,
} from "./uri.ts";
