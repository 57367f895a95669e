import { check, syscall } from "./call.ts";
import * as NR from "./numbers.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const EAGAIN = 11;

/** flock(2), exclusive and without waiting: whether the lock is ours now. It is held until the descriptor is closed or the process ends. */
export function tryLock(fd: number): boolean {
  const result = syscall(NR.flock, fd, LOCK_EX | LOCK_NB);
  if (result === -EAGAIN) return false;
  check(result, "flock", String(fd));
  return true;
}
