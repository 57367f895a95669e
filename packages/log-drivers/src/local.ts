import path from "node:path";
import type { JsonFileLog } from "@longshore/stdio";
import type { LogDriver } from "./driver.ts";
import { checkNames, invalid, type Options, parseBoolean, parseCount, parseSize } from "./options.ts";

const NAME = "local";
const MAX_SIZE_BYTES = 20 << 20;
const MAX_FILES = 5;

/** Files for this engine alone to read: bounded and compressed from the beginning. */
export const local: LogDriver = {
  name: NAME,
  check(options) {
    checkNames(NAME, options, ["max-size", "max-file", "compress"]);
    boundedFile("", options);
  },
  plan: (options, { directory }) => ({ file: boundedFile(path.join(directory, "local.log"), options) }),
};

/** @throws EngineError `invalid_argument` in Docker's words */
export function boundedFile(file: string, options: Options): JsonFileLog {
  const maxSizeBytes =
    options["max-size"] === undefined ? MAX_SIZE_BYTES : parseSize("max-size", options["max-size"]);
  const maxFiles =
    options["max-file"] === undefined ? MAX_FILES : parseCount("max-file", options["max-file"]);
  const compress = options.compress === undefined || parseBoolean(options.compress);
  if (compress && maxFiles < 2) {
    throw invalid("compression cannot be enabled when max file count is 1");
  }
  return { path: file, maxSizeBytes, maxFiles, ...(compress && { compress }) };
}
