import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";

/** The engine's id, which its data root keeps. */
export function engineId(dataRoot: string): string {
  const file = path.join(dataRoot, "engine-id");
  if (fs.existsSync(file)) return fs.readFileSync(file, "utf8").trim();
  const id = crypto.randomUUID();
  fs.writeFileSync(file, `${id}\n`);
  return id;
}
