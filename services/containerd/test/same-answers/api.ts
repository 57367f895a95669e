import zlib from "node:zlib";
import { ContainersDefinition } from "@longshore/api/containerd/services/containers/v1/containers";
import { ContentDefinition, WriteAction } from "@longshore/api/containerd/services/content/v1/content";
import { DiffDefinition } from "@longshore/api/containerd/services/diff/v1/diff";
import { EventsDefinition } from "@longshore/api/containerd/services/events/v1/events";
import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { IntrospectionDefinition } from "@longshore/api/containerd/services/introspection/v1/introspection";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import { NamespacesDefinition } from "@longshore/api/containerd/services/namespaces/v1/namespace";
import { SnapshotsDefinition } from "@longshore/api/containerd/services/snapshots/v1/snapshots";
import { TasksDefinition } from "@longshore/api/containerd/services/tasks/v1/tasks";
import { tarOf } from "@longshore/archive/testing";
import { digestOf } from "@longshore/digest";
import { channelTo, createClient } from "@longshore/rpc";

/** Both are asked everything, in this order; what the one answers, the other must answer. */
export type Step = readonly [what: string, ask: (api: Api) => unknown, options?: StepOptions];
export interface StepOptions {
  /** Words differ from version to version of the original. */
  readonly message?: boolean;
  /** The original answers "unknown". */
  readonly code?: boolean;
}
export type Api = ReturnType<typeof apiOf>;

export const NAMESPACE = "same";
export const GZIP = "application/vnd.oci.image.layer.v1.tar+gzip";

export function apiOf(address: string) {
  const channel = channelTo(address);
  const clients = (metadata: Record<string, string>) => ({
    containers: createClient(channel, ContainersDefinition, { metadata }),
    content: createClient(channel, ContentDefinition, { metadata }),
    diff: createClient(channel, DiffDefinition, { metadata }),
    events: createClient(channel, EventsDefinition, { metadata }),
    images: createClient(channel, ImagesDefinition, { metadata }),
    introspection: createClient(channel, IntrospectionDefinition, { metadata }),
    leases: createClient(channel, LeasesDefinition, { metadata }),
    namespaces: createClient(channel, NamespacesDefinition, { metadata }),
    snapshots: createClient(channel, SnapshotsDefinition, { metadata }),
    tasks: createClient(channel, TasksDefinition, { metadata }),
  });
  return {
    ...clients({ "containerd-namespace": NAMESPACE, "containerd-lease": "all" }),
    unleased: clients({ "containerd-namespace": NAMESPACE }),
    nowhere: clients({}),
    misnamed: clients({ "containerd-namespace": "no/name" }),
    badLease: clients({ "containerd-namespace": NAMESPACE, "containerd-lease": "none" }),
    elsewhere: clients({ "containerd-namespace": "other" }),
    close: () => channel.close(),
  };
}

export const hello = Buffer.from("hello, world\n");
export const digest = digestOf(hello);
export const absent = digestOf("absent");
export const tar = tarOf([{ name: "file", content: "content", uid: 0, gid: 0 }]);
export const layer = zlib.gzipSync(tar);
export const times = { createdAt: undefined, updatedAt: undefined };

export interface Write {
  action?: WriteAction;
  ref?: string;
  total?: number;
  expected?: string;
  offset?: number;
  data?: Buffer | string;
  labels?: Record<string, string>;
}
/** The answers; of those that are alike one, for the original sends its last one twice. */
export async function write(api: { content: Api["content"] }, ...requests: Write[]) {
  const list = requests.map((request) => ({
    action: request.action ?? WriteAction.WRITE,
    ref: request.ref ?? "",
    total: BigInt(request.total ?? 0),
    expected: request.expected ?? "",
    offset: BigInt(request.offset ?? 0),
    data: Buffer.from(request.data ?? ""),
    labels: request.labels ?? {},
  }));
  const send = async function* () {
    yield* list;
  };
  const answers = await Array.fromAsync(api.content.write(send()));
  return answers.filter((one, at) => !Bun.deepEquals(one, answers[at - 1]));
}
export const { STAT, COMMIT } = WriteAction;
export const commit = (api: Api, ref: string, data: Buffer | string, labels: Record<string, string> = {}) =>
  write(api, { action: COMMIT, ref, data, labels });
export const read = async (api: Api, of: string, offset: number, size: number) => {
  const parts = await Array.fromAsync(
    api.content.read({ digest: of, offset: BigInt(offset), size: BigInt(size) }),
  );
  return [parts[0]?.offset, Buffer.concat(parts.map(({ data }) => data)).toString()];
};
export const info = (of: string, labels: Record<string, string> = {}) => ({
  digest: of,
  size: 0n,
  labels,
  ...times,
});
export const collected = async <T>(stream: AsyncIterable<T>) => await Array.fromAsync(stream);
export const contents = async (api: Api, ...filters: string[]) =>
  (await collected(api.content.list({ filters })))
    .flatMap((part) => part.info)
    .map((one) => one.digest)
    .sort();
