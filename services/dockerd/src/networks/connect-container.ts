import { EngineError, errorCode } from "@longshore/errors";
import type { Container, ContainerRecord } from "../containers/container.ts";
import type { EndpointRequest } from "../containers/container-config.ts";
import { updateState } from "../containers/container-record.ts";
import { isLeaving, isRunning } from "../containers/container-status.ts";
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
    refuseLeaving(record);
    if (record.hostConfig.NetworkMode === "host" || record.hostConfig.NetworkMode.startsWith(JOINED)) {
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
    const request = { ...toRequest(facts, config, ""), networkId: "" };
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
    const { record } = container;
    refuseLeaving(record);
    const facts = forced(() => engine.networks.inspect(nameOrId), force);
    // Of one that is gone a container that doesn't run may still have the name.
    const name = facts?.name ?? nameOrId;
    if (facts?.driver === "host" && record.hostConfig.NetworkMode === "host") throw conflictWithHost();
    if (facts?.driver === "null" && isOnNone(record)) {
      await updateState(engine, container, {}, { isOffNone: true });
      return;
    }
    if (!record.networks.some((network) => network.name === name)) {
      const of = isRunning(record.state.status) ? "network" : "the network";
      throw new EngineError(
        "permission_denied",
        `container ${container.id} is not connected to ${of} ${name}`,
      );
    }
    await engine.store.check();
    const networks = record.networks.filter((network) => network.name !== name);
    const gone = record.endpoints.find(({ networkName }) => networkName === name);
    if (gone) {
      try {
        await engine.networks.disconnect(record.sandboxId, gone.networkId);
      } catch (error) {
        if (errorCode(error) !== "not_found") throw error;
      }
    }
    const endpoints = record.endpoints.filter((endpoint) => endpoint !== gone);
    await updateState(engine, container, {}, { networks, endpoints });
    if (gone) {
      updateHosts(engine, record, { gone });
      const dns = dnsSettings(engine, record);
      updateResolvConf(engine, record, engine.networks.resolvConf(record.sandboxId, dns));
    }
    if (!facts) return;
    const { id: networkId, driver } = facts;
    tellNetworkEvent(engine, "disconnect", { networkId, networkName: name, driver }, container.id);
  });
}

function refuseLeaving({ id, state }: ContainerRecord): void {
  if (!isLeaving(state.status)) return;
  throw new EngineError(
    "internal",
    `Container ${id} is marked for removal and cannot be connected or disconnected to the network`,
  );
}

/** What is there, or undefined when it may be missing. */
function forced<T>(find: () => T, force: boolean): T | undefined {
  try {
    return find();
  } catch (error) {
    if (force && errorCode(error) === "not_found") return undefined;
    throw error;
  }
}
