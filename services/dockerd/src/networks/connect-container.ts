import { EngineError, errorCode } from "@longshore/errors";
import type { Container } from "../containers/container.ts";
import type { EndpointRequest } from "../containers/container-config.ts";
import { updateState } from "../containers/container-record.ts";
import type { Engine } from "../engine.ts";
import { dnsSettings, updateHosts, updateResolvConf } from "./etc-files.ts";
import { toAttachment } from "./join-network.ts";
import { tellNetworkEvent } from "./network-events.ts";
import { isOnNone, JOINED } from "./network-mode.ts";
import { conflictWithHost, conflictWithNone, findNetwork, toRequest } from "./network-request.ts";

/**
 * Put a container on one more network, at once when it runs.
 *
 * @throws EngineError `conflict` when it is on it, `invalid_argument` when its network isn't its own
 */
export function connectContainer(
  engine: Engine,
  container: Container,
  nameOrId: string,
  config: EndpointRequest | undefined,
): Promise<void> {
  return container.lock.run(async () => {
    const facts = findNetwork(engine, nameOrId);
    const { record } = container;
    if (record.hostConfig.NetworkMode === "host") throw conflictWithHost();
    if (record.hostConfig.NetworkMode.startsWith(JOINED)) {
      throw new EngineError(
        "invalid_argument",
        "container sharing network namespace with another container or host cannot be connected to any other network",
      );
    }
    if (isOnNone(record)) throw conflictWithNone();
    if (record.networks.some(({ name }) => name === facts.name)) {
      throw new EngineError(
        "permission_denied",
        `endpoint with name ${record.name} already exists in network ${facts.name}`,
      );
    }
    await engine.store.check();
    const request = toRequest(facts, config, "");
    const networks = [...record.networks, request];
    if (record.sandboxId === "") {
      await updateState(engine, container, {}, { networks });
      return;
    }
    const dns = dnsSettings(engine, record);
    const sandbox = { sandboxId: record.sandboxId, containerId: container.id, dns };
    const endpoint = await engine.metrics.timeNetwork("connect", () =>
      engine.networks.connect(sandbox, toAttachment(record, request)),
    );
    const endpoints = [...record.endpoints, endpoint];
    await updateState(engine, container, {}, { networks, endpoints });
    updateHosts(engine, record, { added: endpoint });
    updateResolvConf(engine, record, engine.networks.resolvConf(record.sandboxId, dns));
    tellNetworkEvent(engine, "connect", endpoint, container.id);
  });
}

/** Take a container off a network, at once when it runs. */
export function disconnectContainer(
  engine: Engine,
  container: Container,
  nameOrId: string,
  force: boolean,
): Promise<void> {
  return container.lock.run(async () => {
    const facts = engine.networks.inspect(nameOrId);
    const { record } = container;
    if (facts.driver === "host" && record.hostConfig.NetworkMode === "host") throw conflictWithHost();
    if (facts.driver === "null" && isOnNone(record)) {
      await updateState(engine, container, {}, { isOffNone: true });
      return;
    }
    if (!record.networks.some(({ name }) => name === facts.name)) {
      if (force) return;
      throw new EngineError(
        "permission_denied",
        `container ${container.id} is not connected to network ${facts.name}`,
      );
    }
    await engine.store.check();
    const networks = record.networks.filter(({ name }) => name !== facts.name);
    const gone = record.endpoints.find(({ networkId }) => networkId === facts.id);
    if (gone) {
      try {
        await engine.networks.disconnect(record.sandboxId, facts.id);
      } catch (error) {
        if (errorCode(error) !== "not_found") throw error;
      }
    }
    const endpoints = record.endpoints.filter((endpoint) => endpoint !== gone);
    await updateState(engine, container, {}, { networks, endpoints });
    if (!gone) return;
    updateHosts(engine, record, { gone });
    const dns = dnsSettings(engine, record);
    updateResolvConf(engine, record, engine.networks.resolvConf(record.sandboxId, dns));
    tellNetworkEvent(engine, "disconnect", gone, container.id);
  });
}
