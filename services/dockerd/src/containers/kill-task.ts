import { EngineError, errorCode } from "@longshore/errors";
import type { Engine } from "../engine.ts";

/** Kill and delete a task, whatever its state; none is fine too. */
export async function killTask(engine: Engine, id: string): Promise<void> {
  const { tasks } = engine.containerd;
  // One that has ended, or is gone, can't be killed; delete says which.
  await tasks.kill({ containerId: id, execId: "", signal: 9, all: true }).catch(() => {});
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      await tasks.delete({ containerId: id });
      return;
    } catch (error) {
      if (errorCode(error) === "not_found") return;
      if (errorCode(error) !== "failed_precondition") throw error; // it hasn't exited yet
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new EngineError("deadline_exceeded", `the task of container ${id} doesn't end`);
}
