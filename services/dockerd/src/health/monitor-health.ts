import { setTimeout as sleep } from "node:timers/promises";
import type { Container } from "../containers/container.ts";
import { emitContainerEvent } from "../containers/container-events.ts";
import { updateState } from "../containers/container-record.ts";
import { hasProcess } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { newHealth, nextProbeMs, withResult } from "./health.ts";
import { type HealthPlan, healthPlan } from "./healthcheck.ts";
import { replaceUnhealthy } from "./replace-unhealthy.ts";
import { killStrayProbes, runProbe } from "./run-probe.ts";

/**
 * Look at a running container's health until its process ends, or this daemon; nothing is done for one without a health check, or that
 * is looked at already.
 */
export function monitorHealth(engine: Engine, container: Container): void {
  const plan = healthPlan(container.record.config);
  if (!plan || container.healthMonitor) return;
  const stop = new AbortController();
  container.healthMonitor = stop;
  const signal = AbortSignal.any([stop.signal, engine.signal]);
  const watching = watch(engine, container, plan, signal)
    .catch((error: unknown) => {
      if (!signal.aborted) engine.log.error({ id: container.id, err: error }, "health checks have ended");
    })
    .finally(() => {
      if (container.healthMonitor === stop) container.healthMonitor = undefined;
      engine.exits.delete(watching);
    });
  engine.exits.add(watching); // so that the daemon's end waits until a probe is gone
}

/** Its process has ended. */
export function stopMonitor(container: Container): void {
  container.healthMonitor?.abort();
  container.healthMonitor = undefined;
}

async function watch(
  engine: Engine,
  container: Container,
  plan: HealthPlan,
  signal: AbortSignal,
): Promise<void> {
  const ageMs = () => Date.now() - Date.parse(container.record.state.startedAt);
  const mayProbe = () => !signal.aborted && container.record.state.status === "running";
  await killStrayProbes(engine, container);
  for (;;) {
    const { health = newHealth() } = container.record.state;
    await sleep(nextProbeMs(health, plan, ageMs()), undefined, { signal, ref: false });
    if (!mayProbe()) continue; // paused
    const began = ageMs();
    const result = await runProbe(engine, container, plan, signal);
    signal.throwIfAborted();
    engine.metrics.healthChecks += 1;
    if (result.ExitCode !== 0) engine.metrics.failedHealthChecks += 1;
    if (!hasProcess(container.record.state.status)) return; // its end is being taken in
    if (!mayProbe()) continue; // paused meanwhile: that says nothing
    const before = container.record.state.health ?? newHealth();
    const after = withResult(before, result, plan, began);
    if (after.Status === before.Status) {
      // Not worth a write: the next daemon begins with the last change.
      const { record } = container;
      container.record = { ...record, state: { ...record.state, health: after } };
      continue;
    }
    await updateState(engine, container, { health: after }, {}, { outlive: "process" });
    emitContainerEvent(engine, container, `health_status: ${after.Status}`);
    engine.log.debug({ id: container.id, health: after.Status }, "health");
    if (after.Status === "unhealthy") await replaceUnhealthy(engine, container);
  }
}
