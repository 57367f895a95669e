import { expect, test } from "bun:test";
import { type EventEnvelope, eventSubject, outgoingEvent } from "./envelope.ts";
import { formatTime, parseTime } from "./event-json.ts";
import { eventFromAny, eventFromJson, eventToAny } from "./topics.ts";

const origin = {
  host: "web1.example",
  namespace: "moby",
  source: "shim" as const,
  time: { seconds: 1700000000n, nanos: 5000 },
};
const exit = {
  containerId: "4f2c",
  id: "4f2c",
  pid: 42,
  exitStatus: 137,
  exitedAt: { seconds: 1700000000n, nanos: 5000 },
};

test("outgoingEvent() writes the envelope of ARCHITECTURE.md", () => {
  const { subject, id, payload } = outgoingEvent("/tasks/exit", exit, origin);
  expect(subject).toBe("longshore.events.web1_example.moby.tasks.exit.4f2c");
  expect(id).toBe("moby/4f2c//tasks/exit/42");
  expect(JSON.parse(payload)).toEqual({
    v: 1,
    id,
    time: "2023-11-14T22:13:20.000005000Z",
    host: "web1.example",
    namespace: "moby",
    topic: "/tasks/exit",
    source: "shim",
    event: {
      container_id: "4f2c",
      id: "4f2c",
      pid: 42,
      exit_status: 137,
      exited_at: "2023-11-14T22:13:20.000005000Z",
    },
  });
});

test("outgoingEvent() gives what can happen again an id with its time", () => {
  expect(outgoingEvent("/tasks/exit", { ...exit, id: "ex1" }, origin).id).toBe("moby/4f2c/ex1/tasks/exit/42");
  expect(outgoingEvent("/tasks/paused", { containerId: "4f2c" }, origin).id).toBe(
    "moby/4f2c//tasks/paused//1700000000.000005000",
  );
});

test("eventSubject() makes one token of an image name", () => {
  expect(eventSubject("/images/create", "host:5000/a b:1.2", { host: "h", namespace: "plugins.moby" })).toBe(
    "longshore.events.h.plugins_moby.images.create.host_5000_a_b_1_2",
  );
});

test("events survive Any and JSON, bytes, maps and 64-bit numbers included", () => {
  expect(eventFromAny("/tasks/exit", eventToAny("/tasks/exit", exit))).toEqual({
    topic: "/tasks/exit",
    event: exit,
  });
  const cases = [
    ["/tasks/exit", exit],
    ["/content/create", { digest: "sha256:1", size: 5n, mediaType: "m" }],
    ["/images/create", { name: "a", labels: { "some_Label.x": "v_v" } }],
    [
      "/containers/create",
      { id: "c", image: "i", runtime: { name: "r", options: { typeUrl: "t", value: Buffer.from("v") } } },
    ],
  ] as const;
  for (const [topic, event] of cases) {
    const envelope = JSON.parse(outgoingEvent(topic, event, origin).payload) as EventEnvelope;
    expect(eventFromJson(topic, envelope.event) as unknown).toEqual({ topic, event });
  }
});

test("eventFromAny() refuses a type that does not belong to the topic", () => {
  expect(() => eventFromAny("/tasks/start", eventToAny("/tasks/exit", exit))).toThrow(
    "with an event of type",
  );
  expect(() => eventFromAny("/nothing", undefined)).toThrow("unknown event topic");
});

test("parseTime() reads what formatTime() writes, and fewer digits", () => {
  expect(parseTime(formatTime(origin.time))).toEqual(origin.time);
  expect(parseTime("2023-11-14T22:13:20.5Z")).toEqual({ seconds: 1700000000n, nanos: 500_000_000 });
});
