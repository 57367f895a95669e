import fs from "node:fs";
import { CliError } from "../cli-error.ts";
import { print, writeAll } from "./output.ts";
import { readSecretLine } from "./terminal.ts";

/** Ask on the terminal, or whatever stdin is; only `y` and `yes` mean yes. */
export function confirm(question: string): boolean {
  const answer = askLine(`${question}\nAre you sure you want to continue? [y/N] `).trim().toLowerCase();
  const yes = answer === "y" || answer === "yes";
  if (!yes) print("");
  return yes;
}

export function askLine(prompt: string): string {
  writeAll(1, prompt);
  const byte = Buffer.alloc(1);
  const line: number[] = [];
  while (fs.readSync(0, byte) === 1 && byte[0] !== 10) line.push(byte[0] ?? 0);
  return Buffer.from(line).toString();
}

/** What is typed isn't shown. @throws CliError when it is broken off */
export function askSecret(prompt: string): string {
  writeAll(1, prompt);
  const line = readSecretLine();
  print("");
  if (line === undefined) throw new CliError("", 130);
  return line;
}

/** All of stdin. */
export function readInput(): string {
  return fs.readFileSync(0, "utf8");
}
