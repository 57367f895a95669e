import type { IncomingMessage } from "node:http";
import { EngineError } from "@longshore/errors";
import type { z } from "zod";
import { type FoldOptions, foldKeys } from "./fold-keys.ts";

/** The longest body that is kept in memory. */
export const BODY_LIMIT_BYTES = 4 * 1024 * 1024;

/**
 * All bytes of a request's body.
 * @throws EngineError `resource_exhausted` beyond the limit, `canceled` when the client goes away
 */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const announced = Number(request.headers["content-length"] ?? 0);
  if (announced > limitBytes) throw tooLarge(limitBytes);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > limitBytes) return reject(tooLarge(limitBytes));
      chunks.push(chunk);
    });
    request.once("end", () => resolve(Buffer.concat(chunks)));
    request.once("error", reject);
    request.once("close", () => reject(new EngineError("canceled", "the client went away")));
  });
}

/**
 * Parse JSON text of a checked shape, in whatever case its fields are written. The error names the field, as Docker's decoder does.
 *
 * @param options `exact`: refuse a field that is written in another case
 */
export function parseJson<T>(text: string, schema: z.ZodType<T>, options: FoldOptions = {}): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (text.trim() === "")
      throw new EngineError("invalid_argument", "invalid JSON: got EOF while reading request body");
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError("invalid_argument", `invalid JSON: ${why}`);
  }
  const parsed = schema.safeParse(foldKeys(schema, value, options));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue?.path.join(".") ?? "";
  throw new EngineError(
    "invalid_argument",
    `invalid JSON: ${field === "" ? "body" : field}: ${issue?.message ?? "invalid"}`,
  );
}

function tooLarge(limitBytes: number): EngineError {
  return new EngineError("resource_exhausted", `request body is larger than ${limitBytes} bytes`);
}
