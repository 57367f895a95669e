import fs from "node:fs";
import { EngineError } from "@longshore/errors";
import type { HostConfig } from "../containers/container-config.ts";
import type { Engine } from "../engine.ts";
import type { Remap } from "./remap.ts";
import { isRemapped, type UserNamespace } from "./user-namespaces.ts";

const JOINED = "container:";

/**
 * The user namespace of a starting container: one of its own, or that of a container whose network, IPC or processes it shares, since
 * those belong to it.
 *
 * @returns undefined for the host's
 * @throws EngineError `conflict` for a container that can't be shared with
 */
export function startUsers(engine: Engine, host: HostConfig): (UserNamespace & { remap: Remap }) | undefined {
  const { userns } = engine;
  if (!isRemapped(userns, host)) return undefined;
  const { remap } = userns;
  const modes = [host.NetworkMode, host.IpcMode, host.PidMode].filter((mode) => mode.startsWith(JOINED));
  const paths = modes.map((mode) => {
    const other = engine.containers.find(mode.slice(JOINED.length));
    if (!isRemapped(userns, other.record.hostConfig)) {
      const why = `container ${other.id} is in the host's user namespace: --userns=host joins it`;
      throw new EngineError("conflict", `cannot join namespaces of another user namespace: ${why}`);
    }
    return `/proc/${other.record.state.pid}/ns/user`;
  });
  const [path, ...others] = paths;
  if (path === undefined) return { ...userns.make(), remap };
  if (others.some((one) => fs.readlinkSync(one) !== fs.readlinkSync(path)))
    throw new EngineError("conflict", "cannot join namespaces of containers in different user namespaces");
  const fd = fs.openSync(path, "r");
  return { fd, path: `/proc/${process.pid}/fd/${fd}`, remap, [Symbol.dispose]: () => fs.closeSync(fd) };
}
