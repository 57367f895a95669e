import path from "node:path";
import type { JsonFileLog } from "@longshore/stdio";
import type { AboutContainer } from "./about.ts";
import { ATTRIBUTE_OPTIONS, attributesOf, checkAttributes } from "./attributes.ts";
import type { LogDriver } from "./driver.ts";
import { checkNames, invalid, type Options, parseBoolean, parseCount, parseSize } from "./options.ts";
import { tagOf } from "./tag.ts";

const NAME = "json-file";

/** Docker's default: one JSON object a line, rotated only when that is asked for. */
export const jsonFile: LogDriver = {
  name: NAME,
  check(options) {
    checkNames(NAME, options, ["max-size", "max-file", "compress", "tag", ...ATTRIBUTE_OPTIONS]);
    rotationOf(options);
    checkAttributes(options);
  },
  plan: (options, { directory, about }) => ({
    file: {
      path: jsonFilePath(directory, about.id),
      ...rotationOf(options),
      ...withAttributes(options, about),
    },
  }),
};

export function jsonFilePath(directory: string, id: string): string {
  return path.join(directory, `${id}-json.log`);
}

function rotationOf(options: Options): Omit<JsonFileLog, "path"> {
  const maxSizeBytes =
    options["max-size"] === undefined ? undefined : parseSize("max-size", options["max-size"]);
  const maxFiles =
    options["max-file"] === undefined ? undefined : parseCount("max-file", options["max-file"]);
  const compress = options.compress !== undefined && parseBoolean(options.compress);
  if (compress && ((maxFiles ?? 1) < 2 || maxSizeBytes === undefined)) {
    throw invalid("compress cannot be true when max-file is less than 2 or max-size is not set");
  }
  return {
    ...(maxSizeBytes !== undefined && { maxSizeBytes }),
    ...(maxFiles !== undefined && { maxFiles }),
    ...(compress && { compress }),
  };
}

function withAttributes(options: Options, about: AboutContainer): Pick<JsonFileLog, "attributes"> {
  const tag = options.tag ? tagOf(options, about, "") : "";
  const attributes = { ...attributesOf(options, about), ...(tag !== "" && { tag }) };
  return Object.keys(attributes).length > 0 ? { attributes } : {};
}
