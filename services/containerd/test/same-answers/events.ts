import { type Api, collected, type Step } from "./api.ts";
import { create, update } from "./images.ts";

export const event = {
  typeUrl: "containerd.services.images.v1.ImageCreate",
  value: Buffer.from("0a0178", "hex"),
};
export const envelope = (more: object = {}) => ({
  timestamp: { seconds: 1n, nanos: 2 },
  namespace: "forwarded",
  topic: "/a/b",
  event,
  ...more,
});
/** What a subscriber with filters is told of while something happens. */
export async function heard(api: Api, filters: string[], ...happening: Array<() => Promise<unknown>>) {
  const abort = new AbortController();
  const stream = api.events.subscribe({ filters }, { signal: abort.signal })[Symbol.asyncIterator]();
  const first = stream.next();
  // Until it is subscribed.
  const mark = () => api.events.publish({ topic: "/mark", event });
  const marking = setInterval(() => void mark().catch(() => {}), 20);
  await first;
  clearInterval(marking);
  for (const happen of happening) await happen();
  await api.events.publish({ topic: "/end", event });
  const topics: string[] = [];
  for (;;) {
    const { value, done } = await stream.next();
    if (done || value.topic === "/end") break;
    if (value.topic !== "/mark") topics.push(`${value.namespace} ${value.topic} ${value.event?.typeUrl}`);
  }
  abort.abort();
  await stream.next().catch(() => {});
  return topics;
}
export const ALWAYS = ["topic~=^.(mark|end)$"];
export const imageEvents = (api: Api) => [
  () => create(api, "evented", { labels: { role: "x" } }),
  () => update(api, "evented", { labels: { role: "y" } }, "labels"),
  () => api.images.delete({ name: "evented", sync: false }),
  () => api.events.forward({ envelope: envelope() }),
];
export const EVENTS: Step[] = [
  [
    "publish without a namespace",
    (api) => api.nowhere.events.publish({ topic: "/x", event }),
    { message: false },
  ],
  ["publish without a topic", (api) => api.events.publish({ topic: "", event })],
  ["publish with a topic that can't be", (api) => api.events.publish({ topic: "x", event })],
  ["publish with a topic of nothing", (api) => api.events.publish({ topic: "/", event })],
  ["publish with a bad component", (api) => api.events.publish({ topic: "/x/$", event })],
  ["forward without a namespace", (api) => api.events.forward({ envelope: envelope({ namespace: "" }) })],
  ["forward with a topic that can't be", (api) => api.events.forward({ envelope: envelope({ topic: "b" }) })],
  [
    "forward without a time",
    (api) => api.events.forward({ envelope: envelope({ timestamp: undefined }) }),
    { message: false },
  ],
  ["subscribe by rubbish", (api) => collected(api.events.subscribe({ filters: ["=="] })), { code: false }],
  ["all events", (api) => heard(api, [], ...imageEvents(api))],
  ["by topic", (api) => heard(api, [...ALWAYS, "topic~=|^/images/|"], ...imageEvents(api))],
  ["by namespace", (api) => heard(api, [...ALWAYS, "namespace==forwarded"], ...imageEvents(api))],
  ["by a field", (api) => heard(api, [...ALWAYS, "event.name==evented"], ...imageEvents(api))],
  ["by a label", (api) => heard(api, [...ALWAYS, "event.labels.role==y"], ...imageEvents(api))],
  [
    "by two at once",
    (api) => heard(api, [...ALWAYS, 'topic=="/images/update",namespace==same'], ...imageEvents(api)),
  ],
];

export const plugins = async (api: Api, ...filters: string[]) =>
  (await api.introspection.plugins({ filters })).plugins.map(({ type, id }) => `${type}.${id}`);
export const INTROSPECTION: Step[] = [
  ["plugins by id", (api) => plugins(api, "id==overlayfs")],
  ["plugins by type", (api) => plugins(api, "type==io.containerd.gc.v1")],
  ["plugins by both", (api) => plugins(api, "type==io.containerd.gc.v1,id==overlayfs")],
  ["plugins by what they don't have", (api) => plugins(api, "colour==blue")],
  ["plugins by rubbish", (api) => plugins(api, "id=overlayfs"), { message: false }],
  [
    "a snapshotter",
    async (api) => {
      const [plugin] = (await api.introspection.plugins({ filters: ["id==native"] })).plugins;
      return [plugin?.platforms, plugin?.capabilities, plugin?.initErr];
    },
  ],
  ["server", async (api) => Object.keys(await api.introspection.server({})).includes("uuid")],
];
