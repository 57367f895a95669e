import { type Platform, parsePlatform } from "@longshore/oci";
import type { ApiCall } from "../http/call.ts";

/** The platform that a request asks for. @throws EngineError `invalid_argument` for what is none */
export function platformParam(call: ApiCall): Platform | undefined {
  const text = call.query.get("platform") ?? "";
  return text === "" ? undefined : parsePlatform(text);
}
