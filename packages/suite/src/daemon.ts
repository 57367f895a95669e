import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Probe } from "./health.ts";

const TAIL_LINES = 15;

export interface DaemonOptions {
  name: string;
  path: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  /** Its stdout and stderr are appended here. */
  logFile: string;
  probe: Probe;
  startTimeoutMs: number;
  /** Called when it ends once it was healthy, without having been told to by `stop` or `kill`. */
  onDeath?: (death: DaemonFailure) => void;
}

/** A daemon ended or never became healthy; the message has its last lines of output. */
export class DaemonFailure extends Error {
  override readonly name = "DaemonFailure";
  readonly daemon: string;

  constructor(daemon: string, what: string, tail: string) {
    super(`${daemon} ${what}${tail && `; its last output:\n${tail}`}`);
    this.daemon = daemon;
  }
}

/** One process of ours, from spawn to exit. */
export class Daemon {
  readonly pid: number;
  /** Resolves when the process has ended, with how: `exited with 1` or `was ended by SIGKILL`. */
  readonly ended: Promise<string>;
  readonly #options: DaemonOptions;
  readonly #child: ChildProcess;
  readonly #logStart: number;
  #expected = false;
  #wasHealthy = false;
  #hasEnded = false;

  private constructor(options: DaemonOptions, child: ChildProcess, logStart: number) {
    this.#options = options;
    this.#child = child;
    this.#logStart = logStart;
    this.pid = child.pid ?? 0;
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(`could not be started: ${error.message}`));
      child.once("exit", (code, signal) =>
        resolve(signal ? `was ended by ${signal}` : `exited with ${code ?? "an unknown status"}`),
      );
    });
    void this.ended.then((how) => {
      this.#hasEnded = true;
      if (this.#wasHealthy && !this.#expected) options.onDeath?.(this.#failure(how));
    });
  }

  get running(): boolean {
    return !this.#hasEnded;
  }

  /** Start the process, in a session of its own: Ctrl-C at the terminal is its starter's business. */
  static spawn(options: DaemonOptions): Daemon {
    const log = fs.openSync(options.logFile, "a", 0o640);
    try {
      const logStart = fs.fstatSync(log).size;
      const child = spawn(options.path, options.args, {
        cwd: "/",
        env: options.env,
        detached: true,
        stdio: ["ignore", log, log],
      });
      return new Daemon(options, child, logStart);
    } finally {
      fs.closeSync(log);
    }
  }

  /**
   * Wait until its probe succeeds.
   *
   * @throws DaemonFailure when it ends first, or is not healthy in time (it is killed then)
   */
  async healthy(): Promise<void> {
    const { probe, startTimeoutMs } = this.#options;
    const deadline = Date.now() + startTimeoutMs;
    for (let waitMs = 5; ; waitMs = Math.min(waitMs * 1.5, 100)) {
      if (await probe()) break;
      const how = await Promise.race([this.ended, delay(waitMs, undefined)]);
      if (how !== undefined) throw this.#failure(how);
      if (Date.now() > deadline) {
        await this.kill("SIGKILL");
        throw this.#failure(`was not ready after ${startTimeoutMs / 1000} s`);
      }
    }
    if (this.#hasEnded) throw this.#failure(await this.ended);
    this.#wasHealthy = true;
  }

  /** SIGTERM, then SIGKILL after `graceMs`; true when it ended by itself. */
  async stop(graceMs: number): Promise<boolean> {
    this.#expected = true;
    if (!this.running) return true;
    this.#child.kill("SIGTERM");
    const timer = new AbortController();
    const late = delay(graceMs, "late" as const, { signal: timer.signal }).catch(() => "late" as const);
    const first = await Promise.race([this.ended, late]);
    timer.abort();
    if (first !== "late") return true;
    await this.kill("SIGKILL");
    return false;
  }

  /** Send a signal; for SIGKILL wait until the process is gone. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    this.#expected = true;
    if (this.running) this.#child.kill(signal);
    if (signal === "SIGKILL") await this.ended;
  }

  /** What it wrote since it was started. */
  output(): string {
    const text = fs.readFileSync(this.#options.logFile);
    return text.subarray(this.#logStart).toString();
  }

  #failure(what: string): DaemonFailure {
    let tail = "";
    try {
      tail = this.output().trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
    } catch {
      // its directory was removed with it
    }
    return new DaemonFailure(this.#options.name, what, tail);
  }
}
