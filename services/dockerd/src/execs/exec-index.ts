import { EngineError } from "@longshore/errors";
import type { Container } from "../containers/container.ts";
import type { Exec } from "./exec.ts";

const KILLED = 137;
/** How long an ended one can be asked for, at least. */
export const KEPT_MS = 5 * 60_000;

/** All execs of all containers; ended ones for some minutes, or until their container is removed. */
export class ExecIndex {
  private readonly byId = new Map<string, Exec>();
  private sweptAtMs = Date.now();

  add(exec: Exec): void {
    this.sweep(Date.now());
    this.byId.set(exec.id, exec);
    exec.container.execs.add(exec.id);
  }

  get count(): number {
    return this.byId.size;
  }

  get(id: string): Exec | undefined {
    return this.byId.get(id);
  }

  /** @throws EngineError `not_found` in Docker's words */
  find(id: string): Exec {
    const exec = this.byId.get(id);
    if (!exec) throw new EngineError("not_found", `No such exec instance: ${id}`);
    return exec;
  }

  /** Execs whose process runs. */
  running(container: Container): Exec[] {
    return [...container.execs]
      .flatMap((id) => this.byId.get(id) ?? [])
      .filter(({ status }) => status === "running");
  }

  /** The container's init process is gone, and every other process with it; those that weren't started never will be. */
  endAll(container: Container): void {
    for (const id of container.execs) {
      const exec = this.byId.get(id);
      if (exec?.status === "created") this.remove(exec);
    }
    for (const exec of this.running(container)) {
      exec.end(KILLED);
      void exec.stdio?.[Symbol.asyncDispose]();
    }
  }

  /** Forget those that ended long ago; looks at most once in a while. */
  sweep(nowMs: number): void {
    if (nowMs - this.sweptAtMs < KEPT_MS) return;
    this.sweptAtMs = nowMs;
    for (const exec of this.byId.values())
      if (exec.endedAtMs !== undefined && nowMs - exec.endedAtMs >= KEPT_MS) this.byId.delete(exec.id);
  }

  remove(exec: Exec): void {
    this.byId.delete(exec.id);
    exec.container.execs.delete(exec.id);
  }

  forget(container: Container): void {
    for (const exec of this.byId.values()) if (exec.container === container) this.byId.delete(exec.id);
    container.execs.clear();
  }
}
