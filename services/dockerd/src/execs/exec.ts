import { EngineError } from "@longshore/errors";
import type { Container } from "../containers/container.ts";
import { parseDetachKeys } from "../streams/detach-keys.ts";
import type { ProcessStdio } from "../streams/process-stdio.ts";
import type { ExecConfig } from "./exec-config.ts";

/** A process added to a running container; known only as long as this daemon and its container live. */
export class Exec {
  readonly id: string;
  readonly container: Container;
  readonly config: ExecConfig;
  /** Undefined: those that are usual. */
  readonly detachKeys: Buffer | undefined;
  status: "created" | "running" | "ended" = "created";
  pid = 0;
  /** Null until it has ended. */
  exitCode: number | null = null;
  stdio: ProcessStdio | undefined;
  readonly ended: Promise<void>;
  private tellEnded: () => void = () => {};
  /** Its process runs, or it won't. */
  readonly settled: Promise<void>;
  private tellSettled: () => void = () => {};
  /** When it ended, in milliseconds since 1970. */
  endedAtMs: number | undefined;

  /** It is the daemon's own, to look at the container's health. */
  readonly isProbe: boolean;

  /** @throws EngineError `internal`, as Docker has it, for detach keys that are none */
  constructor(id: string, container: Container, config: ExecConfig, isProbe = false) {
    this.id = id;
    this.isProbe = isProbe;
    this.container = container;
    this.config = config;
    if (config.DetachKeys !== "") {
      this.detachKeys = parseDetachKeys(config.DetachKeys);
      if (!this.detachKeys)
        throw new EngineError("internal", `Invalid escape keys (${config.DetachKeys}) provided`);
    }
    this.ended = new Promise((resolve) => {
      this.tellEnded = resolve;
    });
    this.settled = new Promise((resolve) => {
      this.tellSettled = resolve;
    });
  }

  /** Note the process's start. */
  runs(pid: number): void {
    this.pid = pid;
    this.tellSettled();
  }

  /** Note the end; the first one counts. */
  end(exitCode: number): boolean {
    if (this.status === "ended") return false;
    this.status = "ended";
    this.exitCode = exitCode;
    this.endedAtMs = Date.now();
    this.container.execs.delete(this.id);
    this.tellSettled();
    this.tellEnded();
    return true;
  }
}
