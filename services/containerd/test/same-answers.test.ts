import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { EngineError } from "@longshore/errors";
import { realContainerdRelease } from "@longshore/suite";
import { Daemon } from "./daemon.ts";
import { RealContainerd } from "./real-containerd.ts";
import { type Api, apiOf, type Step, type StepOptions } from "./same-answers/api.ts";
import { CONTAINERS, TASKS } from "./same-answers/containers.ts";
import { CONTENT } from "./same-answers/content.ts";
import { EVENTS, INTROSPECTION } from "./same-answers/events.ts";
import { IMAGES } from "./same-answers/images.ts";
import { LEASES, NAMESPACES } from "./same-answers/leases.ts";
import { DIFF, SNAPSHOTS } from "./same-answers/snapshots.ts";

setDefaultTimeout(60_000);

const SUBJECTS: Readonly<Record<string, readonly Step[]>> = {
  content: CONTENT,
  images: IMAGES,
  snapshots: SNAPSHOTS,
  diff: DIFF,
  containers: CONTAINERS,
  tasks: TASKS,
  leases: LEASES,
  namespaces: NAMESPACES,
  events: EVENTS,
  introspection: INTROSPECTION,
};

/** The one that ours is compared with word by word. */
const COMPARED = "1.6";
const release = realContainerdRelease();
if (release !== COMPARED)
  console.log(
    `# skipped: answers beside the real containerd: it is ${release ?? "not installed"}, not ${COMPARED}`,
  );

describe.skipIf(release !== COMPARED)("ours and the real containerd answer the same", () => {
  let ours: Daemon;
  let real: RealContainerd;
  const apis: Api[] = [];
  const seenBy: Record<"ours" | "real", Seen> = { ours: new Map(), real: new Map() };
  beforeAll(async () => {
    [ours, real] = await Promise.all([Daemon.start(), RealContainerd.start()]);
    apis.push(apiOf(ours.address), apiOf(real.address));
    for (const api of apis) await api.unleased.leases.create({ id: "all", labels: {} });
  });
  afterAll(async () => {
    for (const api of apis) api.close();
    await Promise.all([ours, real].map((one) => one[Symbol.asyncDispose]()));
  });

  for (const [subject, steps] of Object.entries(SUBJECTS)) {
    describe(subject, () => {
      test.each(steps as Step[])("%s", async (_what, ask, options = {}) => {
        const [mine, theirs] = await Promise.all(
          apis.map((api) => answerOf(async () => await ask(api), options)),
        );
        expect(comparable(mine, seenBy.ours)).toEqual(comparable(theirs, seenBy.real));
      });
    });
  }
});

async function answerOf(
  ask: () => Promise<unknown>,
  { message = true, code = true }: StepOptions,
): Promise<unknown> {
  try {
    return { answer: await ask() };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { failed: code ? error.code : true, message: message && code ? error.message : "" };
  }
}

/** Numbers of snapshots, by what stands before them in a path, in the order in which they were seen. */
type Seen = Map<string, number>;

/** Without what can't be the same: times, directories, numbers of snapshots, the order of mount options. */
function comparable(value: unknown, seen: Seen, key = ""): unknown {
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "string") {
    return value.replace(/\/tmp\/ls-[^/]+\/(\S*?snapshots\/\d+)/g, (_, place: string) => {
      if (!seen.has(place)) seen.set(place, seen.size);
      return `${place.replace(/\d+$/, "")}#${seen.get(place)}`;
    });
  }
  if (Buffer.isBuffer(value)) return value.toString("base64");
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) {
    const items = value.map((item) => comparable(item, seen));
    return key === "options" ? items.sort() : items;
  }
  if (typeof value !== "object" || value === null) return value;
  if ("seconds" in value && "nanos" in value) return "<time>";
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, comparable(item, seen, name)]),
  );
}
