export { type EventBus, type EventBusOptions, openEventBus, type SubscribeOptions } from "./bus.ts";
export {
  type EventEnvelope,
  type EventOrigin,
  eventSubject,
  hostName,
  type OutgoingEvent,
  outgoingEvent,
  STREAM,
} from "./envelope.ts";
export { formatTime, type JsonObject, now, parseTime, type Timestamp } from "./event-json.ts";
export { TASK_TOPICS, type TaskTopic } from "./task-topics.ts";
export {
  type AnyEvent,
  type EventOf,
  eventFromAny,
  eventFromJson,
  eventToAny,
  isTopic,
  TOPICS,
  type Topic,
} from "./topics.ts";
