import { EngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { updateState } from "./container-record.ts";
import { nextStatus, requireRunning } from "./container-status.ts";
import { thaw } from "./kill-container.ts";

export function pauseContainer(engine: Engine, container: Container): Promise<void> {
  return container.lock.run(async () => {
    requireRunning(container.id, container.record.state.status);
    if (container.record.state.status === "paused") {
      throw new EngineError("conflict", `container ${container.id} is already paused`);
    }
    await engine.store.check();
    const status = nextStatus(container.record.state.status, "pause");
    await engine.containerd.tasks.pause({ containerId: container.id });
    await updateState(engine, container, { status });
    emitContainerEvent(engine, container, "pause");
  });
}

export function unpauseContainer(engine: Engine, container: Container): Promise<void> {
  return container.lock.run(async () => {
    if (container.record.state.status !== "paused") {
      throw new EngineError("conflict", `Container ${container.id} is not paused`);
    }
    await engine.store.check();
    await thaw(engine, container);
    emitContainerEvent(engine, container, "unpause");
  });
}
