import type { JsonFileLog } from "@longshore/stdio";
import { runtimeEnvironment } from "../environment.ts";
import type { spawned } from "../reaper.ts";

/**
 * Has a log's rotated files compressed, by one process at a time. What is under way when the shim ends, or is killed, is
 * finished all the same.
 */
export class LogCompressor {
  readonly #log: JsonFileLog;
  readonly #onError: (error: unknown) => void;
  readonly #spawned: typeof spawned;
  #running = false;
  #again = false;

  constructor(
    log: JsonFileLog,
    given: { onError: (error: unknown) => void /** The process's reaper. */; spawned: typeof spawned },
  ) {
    this.#log = log;
    this.#onError = given.onError;
    this.#spawned = given.spawned;
  }

  /** There is a file to compress. Returns at once. */
  wake(): void {
    this.#again = true;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#again) {
      this.#again = false;
      try {
        await this.#compress();
      } catch (error) {
        this.#onError(error);
      }
    }
    this.#running = false;
  }

  async #compress(): Promise<void> {
    const { path, maxFiles = 1 } = this.#log;
    // The file may have been replaced while this process slept.
    const executable = process.execPath.replace(/ \(deleted\)$/, "");
    const child = Bun.spawn([executable, "compress-log", path, String(maxFiles)], {
      argv0: process.argv0,
      cwd: "/",
      env: runtimeEnvironment(),
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
    });
    const said = new Response(child.stderr).text();
    if ((await this.#spawned(child)) !== 0) throw new Error((await said).trim());
  }
}
