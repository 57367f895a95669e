import { EngineError, type ErrorCode } from "@longshore/errors";
import type { Condition } from "./store.ts";

const FAILURE: Record<Condition["is"], { code: ErrorCode; text: string }> = {
  absent: { code: "already_exists", text: "already exists" },
  present: { code: "not_found", text: "not found" },
  equals: { code: "aborted", text: "was changed by someone else" },
};

/** The error of a condition that did not hold. */
export function failedCondition({ is, bucket, key }: Condition): EngineError {
  const { code, text } = FAILURE[is];
  return new EngineError(code, `${bucket}/${key}: ${text}`);
}
