import { EngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import { renameOnNetworks } from "../networks/join-network.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { saveRecord } from "./container-record.ts";
import { checkName } from "./names.ts";

/** @throws EngineError `invalid_argument` for a bad name, `conflict` for a taken one */
export function renameContainer(engine: Engine, container: Container, given: string): Promise<void> {
  return container.lock.run(async () => {
    const wanted = given.trim();
    if (["", "/"].includes(wanted))
      throw new EngineError("invalid_argument", "Neither old nor new names may be empty");
    const { name: oldName } = container.record;
    if (wanted.replace(/^\//, "") === oldName) {
      throw new EngineError(
        "invalid_argument",
        "Renaming a container with the same name as its current name",
      );
    }
    await engine.store.check();
    const name = takeName(engine, container, wanted);
    container.record = { ...container.record, name };
    try {
      await saveRecord(engine, container);
    } catch (error) {
      container.record = { ...container.record, name: oldName };
      engine.containers.release(name, container.id);
      throw error;
    }
    engine.containers.release(oldName, container.id);
    await renameOnNetworks(engine, container);
    emitContainerEvent(engine, container, "rename", { oldName: `/${oldName}` });
  });
}

function takeName(engine: Engine, container: Container, wanted: string): string {
  try {
    const name = checkName(wanted);
    engine.containers.reserve(name, container.id);
    return name;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const { code, message } = error;
    throw new EngineError(code, `Error when allocating new name: ${message}`, { cause: error });
  }
}
