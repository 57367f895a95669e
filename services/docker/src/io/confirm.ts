import fs from "node:fs";
import { print, writeAll } from "./output.ts";

/** Ask on the terminal, or whatever stdin is; only `y` and `yes` mean yes. */
export function confirm(question: string): boolean {
  writeAll(1, `${question}\nAre you sure you want to continue? [y/N] `);
  const answer = readLine().trim().toLowerCase();
  const yes = answer === "y" || answer === "yes";
  if (!yes) print("");
  return yes;
}

function readLine(): string {
  const byte = Buffer.alloc(1);
  let line = "";
  while (fs.readSync(0, byte) === 1 && byte[0] !== 10) line += byte.toString("latin1");
  return line;
}
