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

  /** It is the daemon's own, to look at the container's health. */
  readonly isProbe: boolean;

  /** @throws EngineError `invalid_argument` for detach keys that are none */
  constructor(id: string, container: Container, config: ExecConfig, isProbe = false) {
    this.id = id;
    this.isProbe = isProbe;
    this.container = container;
    this.config = config;
    if (config.DetachKeys !== "") this.detachKeys = parseDetachKeys(config.DetachKeys);
    this.ended = new Promise((resolve) => {
      this.tellEnded = resolve;
    });
  }

  /** Note the end; the first one counts. */
  end(exitCode: number): boolean {
    if (this.status === "ended") return false;
    this.status = "ended";
    this.exitCode = exitCode;
    this.tellEnded();
    return true;
  }
}
