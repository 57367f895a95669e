import fs from "node:fs";
import path from "node:path";
import { CliError } from "../cli-error.ts";
import type { HttpAnswer } from "../engine/http.ts";
import { writeAll } from "./output.ts";
import { isTerminal } from "./terminal.ts";

const CHUNK_BYTES = 256 << 10;

/**
 * Write an answer's body to a file, or to stdout where none is named. The file is there only when it is whole.
 * @throws CliError in Docker's words for a terminal, or a directory that isn't there
 */
export async function saveAnswer(
  ask: () => Promise<HttpAnswer>,
  file: string,
  command: string,
): Promise<void> {
  if (file === "") {
    if (isTerminal(1)) {
      throw new CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect");
    }
    for await (const piece of (await ask()).body) writeAll(1, piece);
    return;
  }
  checkOutput(file, command);
  const { body } = await ask();
  const partial = path.join(path.dirname(file), `.docker_temp_${process.pid}`);
  const fd = fs.openSync(partial, "w", 0o600);
  try {
    for await (const piece of body) writeAll(fd, piece);
    fs.renameSync(partial, file);
  } catch (error) {
    fs.rmSync(partial, { force: true });
    throw error;
  } finally {
    fs.closeSync(fd);
  }
}

function checkOutput(file: string, command: string): void {
  const fail = (why: string) => new CliError(`failed to ${command}: invalid output path: ${why}`);
  const directory = path.dirname(file);
  if (!fs.existsSync(directory)) throw fail(`directory ${JSON.stringify(directory)} does not exist`);
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  if (stat?.isDirectory()) throw fail(`${JSON.stringify(file)} must be a regular file: is a directory`);
}

/** The pieces of a file, or of stdin for `-`. @throws CliError when it can't be read */
export function openInput(file: string): AsyncGenerator<Buffer> {
  let fd = 0;
  try {
    if (file !== "-") fd = fs.openSync(file, "r");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const why =
      code === "ENOENT" ? "no such file or directory" : code === "EACCES" ? "permission denied" : code;
    throw new CliError(`open ${file}: ${why}`);
  }
  return pieces(fd);
}

async function* pieces(fd: number): AsyncGenerator<Buffer> {
  for (;;) {
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    const length = readSome(fd, buffer);
    if (length === 0) break;
    yield buffer.subarray(0, length);
  }
  if (fd !== 0) fs.closeSync(fd);
}

/** Blocking: a file is there at once, and while nothing comes on stdin there is nothing else to do. */
function readSome(fd: number, buffer: Buffer): number {
  for (;;) {
    try {
      return fs.readSync(fd, buffer);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : "";
      if (code === "EOF") return 0;
      if (code !== "EAGAIN") throw error;
      Bun.sleepSync(1);
    }
  }
}
