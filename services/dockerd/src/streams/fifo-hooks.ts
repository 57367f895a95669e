import type { Engine } from "../engine.ts";

/** What stdio over FIFOs needs of the engine. */
export function fifoHooks(engine: Engine, containerId: string, execId: string) {
  const ids = { id: containerId, execId };
  return {
    async closeIo(): Promise<void> {
      try {
        await engine.containerd.tasks.closeIO({ containerId, execId, stdin: true });
      } catch (error) {
        engine.log.debug({ ...ids, err: error }, "closing stdin"); // the process has ended
      }
    },
    onLogError: (error: unknown) => engine.log.error({ ...ids, err: error }, "writing the log"),
  };
}
