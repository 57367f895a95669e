import { expect, test } from "bun:test";
import { ContainerCreate } from "@longshore/api/containerd/events/container";
import { TaskExit } from "@longshore/api/containerd/events/task";
import { eventMessage } from "../plugin.ts";
import type { Envelope } from "./envelope.ts";
import { envelopeFilter } from "./envelope-filter.ts";
import { Exchange } from "./exchange.ts";

const exit = (containerId: string) =>
  eventMessage("TaskExit", TaskExit, TaskExit.fromPartial({ containerId, id: containerId, pid: 7 }));

const created = eventMessage(
  "ContainerCreate",
  ContainerCreate,
  ContainerCreate.fromPartial({ id: "c", image: "i" }),
);

async function collect(exchange: Exchange, filters: string[], publish: () => void): Promise<string[]> {
  const stop = new AbortController();
  const subscription = exchange.subscribe(envelopeFilter(filters));
  publish();
  stop.abort();
  const topics: string[] = [];
  for await (const { namespace, topic } of subscription.read(stop.signal))
    topics.push(`${namespace}${topic}`);
  return topics;
}

test("Exchange shows subscribers what their filters let through, in order", async () => {
  const exchange = new Exchange();
  const publish = () => {
    exchange.publish("moby", "/tasks/exit", exit("a"));
    exchange.publish("other", "/tasks/exit", exit("b"));
    exchange.publish("moby", "/containers/create", created);
  };
  expect(await collect(exchange, [], publish)).toEqual([
    "moby/tasks/exit",
    "other/tasks/exit",
    "moby/containers/create",
  ]);
  // What dockerd subscribes with.
  expect(await collect(exchange, ["namespace==moby,topic~=|^/tasks/|"], publish)).toEqual([
    "moby/tasks/exit",
  ]);
  expect(await collect(exchange, ['topic=="/tasks/exit",event.container_id==b'], publish)).toEqual([
    "other/tasks/exit",
  ]);
  expect(await collect(exchange, ["event.id==c", "namespace==other"], publish)).toEqual([
    "other/tasks/exit",
    "moby/containers/create",
  ]);
});

test("Exchange tells a later subscriber what happened while nobody could listen", async () => {
  const exchange = new Exchange();
  exchange.publish("moby", "/tasks/exit", exit("a"), { replay: true });
  exchange.publish("moby", "/tasks/delete", exit("a"));
  expect(await collect(exchange, [], () => {})).toEqual(["moby/tasks/exit"]);
});

test("Exchange refuses envelopes without a time, a namespace or a topic that is one", () => {
  const exchange = new Exchange();
  const valid: Envelope = {
    timestamp: { seconds: 1n, nanos: 0 },
    namespace: "moby",
    topic: "/tasks/exit",
    event: undefined,
  };
  exchange.forward(valid);
  expect(() => exchange.forward({ ...valid, timestamp: undefined })).toThrow("timestamp must be set");
  expect(() => exchange.forward({ ...valid, namespace: "" })).toThrow("identifier must not be empty");
  expect(() => exchange.forward({ ...valid, topic: "tasks" })).toThrow("must start with '/'");
  expect(() => exchange.forward({ ...valid, topic: "/" })).toThrow("at least one component");
  expect(() => exchange.forward({ ...valid, topic: "/a//b" })).toThrow("failed validation on component");
});

test("Exchange cuts off a subscriber that does not read", async () => {
  const exchange = new Exchange();
  const subscription = exchange.subscribe(() => true);
  for (let i = 0; i < 50_001; i++) exchange.publish("moby", "/tasks/exit", exit("a"));
  const read = async () => {
    for await (const _ of subscription.read(new AbortController().signal));
  };
  expect(read()).rejects.toThrow("50000 events behind");
});
