import type { Container } from "../containers/container.ts";
import type { Engine } from "../engine.ts";

/** Tell of the volumes that a container's process has got. */
export function tellMounts(engine: Engine, { id, record }: Container): void {
  for (const { type, name, driver, destination, rw, propagation } of record.mounts) {
    if (type !== "volume") continue;
    const attributes = { container: id, destination, driver, propagation, "read/write": String(rw) };
    engine.events.emit("volume", "mount", name, attributes);
  }
}

/** A container's process is gone, or won't be: its volumes are no longer mounted for it. */
export async function unmountVolumes(
  engine: Engine,
  { id, record }: Container,
  { tell = false }: { tell?: boolean } = {},
): Promise<void> {
  for (const { type, name, driver } of record.mounts) {
    if (type !== "volume") continue;
    try {
      await engine.volumes.unmount(name, id);
    } catch (error) {
      engine.log.warn({ id, name, err: error }, "unmounting a volume");
    }
    if (tell) engine.events.emit("volume", "unmount", name, { container: id, driver });
  }
}
