import type { Container } from "../containers/container.ts";
import type { ContainerConfig, HostConfig } from "../containers/container-config.ts";
import { sendSignal, waitForExit, within } from "../containers/kill-container.ts";
import { restarts, restartsAfter } from "../containers/restart-policy.ts";
import { stopSignalOf } from "../containers/signals.ts";
import type { Engine } from "../engine.ts";

/** With the value `true` a container's restart policy also restarts it when it has become unhealthy, as a failure. */
export const RESTART_UNHEALTHY = "longshore.restart-unhealthy";

const SIGKILL = 9;

/** What a client should know of the label beside a policy that it does nothing to. */
export function labelWarnings({ Labels }: ContainerConfig, { RestartPolicy }: HostConfig): string[] {
  if (Labels[RESTART_UNHEALTHY] !== "true" || restarts(RestartPolicy)) return [];
  return [`The label ${RESTART_UNHEALTHY} does nothing without a restart policy`];
}

/** End the process of an unhealthy container whose label and restart policy want it started again. */
export async function replaceUnhealthy(engine: Engine, container: Container): Promise<void> {
  const { config, hostConfig, restartCount = 0 } = container.record;
  const run = { failed: true, restartCount, manuallyStopped: false, stopRequested: container.stopRequested };
  if (config.Labels[RESTART_UNHEALTHY] !== "true" || !restartsAfter(hostConfig.RestartPolicy, run)) return;
  engine.log.info({ id: container.id }, "unhealthy: its restart policy restarts it");
  container.replacing = true;
  const exited = waitForExit(container);
  const signal = stopSignalOf(config);
  const seconds = config.StopTimeout ?? engine.flags.stopTimeoutSeconds;
  await sendSignal(engine, container, signal);
  if (!(await within(exited, seconds < 0 ? undefined : seconds * 1000)))
    await sendSignal(engine, container, SIGKILL);
}
