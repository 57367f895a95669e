import type {
  Lease as LeaseMessage,
  LeasesDefinition,
  Resource as ResourceMessage,
} from "@longshore/api/containerd/services/leases/v1/leases";
import { EngineError } from "@longshore/errors";
import type { Handlers } from "@longshore/rpc";
import type { Resource } from "../metadata/database.ts";
import type { Lease, LeaseMetadata } from "../metadata/lease-metadata.ts";
import { scopeOf } from "../metadata/scope.ts";
import { fromRfc3339 } from "../timestamp.ts";

/** gRPC: leases. @param collect run a garbage collection and wait for its end */
export function leasesHandlers(
  leases: LeaseMetadata,
  collect: () => Promise<unknown>,
): Handlers<typeof LeasesDefinition> {
  return {
    async create({ id, labels }, context) {
      return { lease: leaseMessage(await leases.create(scopeOf(context), id || randomId(), labels)) };
    },
    async delete({ id, sync }, context) {
      await leases.delete(scopeOf(context), id);
      if (sync) await collect();
      return {};
    },
    async list({ filters }, context) {
      return { leases: (await leases.list(scopeOf(context), filters)).map(leaseMessage) };
    },
    async addResource({ id, resource }, context) {
      await leases.addResource(scopeOf(context), id, required(resource));
      return {};
    },
    async deleteResource({ id, resource }, context) {
      await leases.deleteResource(scopeOf(context), id, required(resource));
      return {};
    },
    async listResources({ id }, context) {
      return { resources: await leases.listResources(scopeOf(context), id) };
    },
  };
}

/** As the original names leases that nobody named: the time and three random bytes. */
function randomId(): string {
  const random = Buffer.from(crypto.getRandomValues(new Uint8Array(3))).toString("base64url");
  return `${process.hrtime.bigint() % 1_000_000_000n}-${random}`;
}

function required(resource: ResourceMessage | undefined): Resource {
  if (resource) return resource;
  throw new EngineError("invalid_argument", "no resource given");
}

function leaseMessage({ id, createdAt, labels }: Lease): LeaseMessage {
  return { id, createdAt: fromRfc3339(createdAt), labels };
}
