import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { tryLock } from "@longshore/syscalls";

/**
 * Claim a data root for this process, until what is returned is disposed of or the process ends.
 * @throws EngineError `failed_precondition` while another daemon has it
 */
export function lockRoot(directory: string): Disposable {
  const file = path.join(directory, "lock");
  const fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  if (!tryLock(fd)) {
    const holder = fs.readFileSync(file, "utf8").trim();
    fs.closeSync(fd);
    throw new EngineError("failed_precondition", `${directory} is in use by another dockerd (pid ${holder})`);
  }
  fs.ftruncateSync(fd);
  fs.writeSync(fd, `${process.pid}\n`, 0);
  return { [Symbol.dispose]: () => fs.closeSync(fd) };
}
