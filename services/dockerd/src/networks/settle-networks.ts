import type { Container } from "../containers/container.ts";
import { updateState } from "../containers/container-record.ts";
import type { Engine } from "../engine.ts";
import { dnsSettings, updateHosts, updateResolvConf } from "./etc-files.ts";
import { toAttachment } from "./join-network.ts";

/**
 * Bring the networks of running containers in line with their records, after a daemon that was killed while it connected or disconnected
 * one: what the record doesn't say yet is undone, what it still says is done again. The sandboxes have been reconciled.
 */
export async function settleNetworks(engine: Engine): Promise<void> {
  for (const container of engine.containers.list()) {
    if (container.record.sandboxId === "") continue;
    await container.lock.run(async () => {
      try {
        await settle(engine, container);
      } catch (error) {
        engine.log.warn({ id: container.id, err: error }, "settling a container's networks");
      }
    });
  }
}

async function settle(engine: Engine, container: Container): Promise<void> {
  const { networks } = engine;
  const { record } = container;
  const { sandboxId, config } = record;
  if (sandboxId === "" || config.NetworkDisabled) return;
  const wanted = record.networks;
  const known = record.endpoints.map(({ endpointId }) => endpointId).join();
  for (const { networkName, networkId } of networks.endpoints(sandboxId))
    if (!wanted.some(({ name }) => name === networkName)) await networks.disconnect(sandboxId, networkId);
  const dns = dnsSettings(engine, record);
  for (const request of wanted) {
    if (networks.endpoints(sandboxId).some(({ networkName }) => networkName === request.name)) continue;
    try {
      await networks.connect({ sandboxId, containerId: container.id, dns }, toAttachment(record, request));
    } catch (error) {
      engine.log.warn({ id: container.id, network: request.name, err: error }, "a network is not to be had");
    }
  }
  const endpoints = networks.endpoints(sandboxId);
  if (endpoints.map(({ endpointId }) => endpointId).join() === known) return;
  const before = record.endpoints;
  await updateState(engine, container, {}, { endpoints });
  for (const gone of before)
    if (!endpoints.some(({ endpointId }) => endpointId === gone.endpointId))
      updateHosts(engine, record, { gone });
  for (const added of endpoints)
    if (!before.some(({ endpointId }) => endpointId === added.endpointId))
      updateHosts(engine, record, { added });
  updateResolvConf(engine, record, networks.resolvConf(sandboxId, dns));
}
