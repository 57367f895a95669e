import fs from "node:fs";
import path from "node:path";
import { ContentDefinition } from "@longshore/api/containerd/services/content/v1/content";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { HealthDefinition } from "@longshore/api/grpc/health/v1/health";
import {
  BlobProgress_State,
  type Credentials,
  type PullEvent,
  type PullRequest,
  RegistryDefinition,
} from "@longshore/api/longshore/registry/v1/registry";
import { toEngineError } from "@longshore/errors";
import { type ClientOf, channelTo, createClient } from "@longshore/rpc";
import { installed, type Stage, startContainerd, until } from "./peers.ts";

export const binDir =
  process.env.LONGSHORE_TEST_BIN_DIR ?? path.resolve(import.meta.dirname, "../../../dist/bin");
export const binary = path.join(binDir, "registry-client");

const missing = ["containerd", "ctr", "docker-registry", "skopeo"].filter((name) => !installed(name));
/** Why the tests against real peers can't run; empty when they can. */
export const skipReason = !fs.existsSync(binary)
  ? `${binary} is not built`
  : missing.length > 0
    ? `not installed: ${missing.join(", ")}`
    : "";

export const NAMESPACE = "test";

let services = 0;

/** The compiled service with a real containerd behind it. */
export interface Service {
  readonly containerd: string;
  readonly registry: ClientOf<typeof RegistryDefinition>;
  readonly content: ClientOf<typeof ContentDefinition>;
  readonly leases: ClientOf<typeof LeasesDefinition>;
  readonly health: ClientOf<typeof HealthDefinition>;
  readonly process: Bun.Subprocess;
}

export async function startService(stage: Stage, ...flags: string[]): Promise<Service> {
  return serviceOn(stage, (await startContainerd(stage)).address, ...flags);
}

/** The same on a containerd that runs already. */
export async function serviceOn(stage: Stage, containerd: string, ...flags: string[]): Promise<Service> {
  const address = path.join(stage.dir, `registry-client-${services++}.sock`);
  const child = stage.spawn([binary, "serve", "--address", address, "--containerd", containerd, ...flags], {
    log: "registry-client.log",
  });
  await until("registry-client", () => fs.existsSync(address));
  const own = channelTo(address);
  const theirs = channelTo(containerd);
  stage.defer(() => {
    own.close();
    theirs.close();
  });
  const metadata = { "containerd-namespace": NAMESPACE };
  return {
    containerd,
    registry: createClient(own, RegistryDefinition),
    health: createClient(own, HealthDefinition),
    content: createClient(theirs, ContentDefinition, { metadata }),
    leases: createClient(theirs, LeasesDefinition, { metadata }),
    process: child,
  };
}

export const request = (reference: string, more: Partial<PullRequest> = {}): PullRequest => ({
  reference,
  platform: undefined,
  credentials: undefined,
  namespace: NAMESPACE,
  lease: "",
  hosts: undefined,
  ...more,
});

export const login = (username: string, password: string): Credentials => ({
  username,
  password,
  identityToken: "",
  registryToken: "",
});

/** All events of a pull that succeeds. */
export async function pullAll(service: Service, pull: PullRequest): Promise<PullEvent[]> {
  const events: PullEvent[] = [];
  for await (const event of service.registry.pull(pull, { timeoutMs: 60_000 })) events.push(event);
  return events;
}

/** Code and message of a call that fails. */
export async function failureOf(call: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await call;
  } catch (error) {
    const { code, message } = toEngineError(error);
    return { code, message };
  }
  throw new Error("the call succeeded");
}

/** The last state of each blob. */
export function finalStates(events: readonly PullEvent[]): Record<string, string> {
  const names = Object.fromEntries(Object.entries(BlobProgress_State).map(([name, value]) => [value, name]));
  const states: Record<string, string> = {};
  for (const { event } of events) {
    if (event?.$case === "progress") states[event.value.digest] = names[event.value.state] ?? "";
  }
  return states;
}

/** Labels by digest of all that the store holds. */
export async function storedLabels(service: Service): Promise<Record<string, Record<string, string>>> {
  const stored: Record<string, Record<string, string>> = {};
  for await (const { info } of service.content.list({ filters: [] })) {
    for (const { digest, labels } of info) stored[digest] = labels;
  }
  return stored;
}

/** Offsets of the unfinished ingests by name. */
export async function ingests(service: Service): Promise<Record<string, number>> {
  const { statuses } = await service.content.listStatuses({ filters: [] });
  return Object.fromEntries(statuses.map(({ ref, offset }) => [ref, Number(offset)]));
}
