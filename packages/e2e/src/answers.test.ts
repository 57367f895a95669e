import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import crypto from "node:crypto";
import os from "node:os";
import { hasReference, newestReference, REFERENCE_API_VERSION, reference } from "./reference.ts";
import { CheckedEngine } from "./schema/checked-engine.ts";
import { OPERATIONS } from "./schema/operations.ts";
import { callEverything, newerThan } from "./schema/scenario.ts";
import { field, goList, isOlder, map, object, optional, problemsOf } from "./schema/shape.ts";
import { useWorld, type WorldOptions } from "./world.ts";

test("problemsOf() finds what is missing, unknown, of another type, or of another version", () => {
  const shape = object({
    Id: "id",
    Some: optional("integer"),
    Ports: goList(map("string")),
    Old: field("string", { before: "1.44" }),
    New: field("string", { since: "1.44" }),
    Empty: field("string", { optionalSince: "1.44" }),
  });
  const at = (request: string, value: object) => problemsOf(value, shape, { request, engine: "1.44" });
  const right = { Id: "a".repeat(64), Ports: null, New: "" };
  expect(at("1.44", right)).toEqual([]);
  expect(at("1.43", { ...right, New: undefined, Old: "" })).toEqual([
    "New: is not of version 1.43",
    "Empty: is missing",
  ]);
  expect(at("1.44", { Id: "b", Ports: [{ a: 1 }], New: "", Some: 1.5, Other: true })).toEqual([
    "Other: is not in the schema",
    'Id: "b" is not of type id',
    "Some: 1.5 is not of type integer",
    'Ports[0]["a"]: 1 is not of type string',
  ]);
  expect(at("1.43", { Id: right.Id, Ports: [], Empty: "" })).toEqual(["Old: is missing"]);
});

/** An index that finds one image for every word, and a registry with that one in its catalog. */
let index: ReturnType<typeof Bun.serve>;
beforeAll(() => {
  const hit = { name: "some/any", description: "", star_count: 3, is_official: false, is_automated: false };
  const search = { num_results: 1, query: "any", results: [hit] };
  index = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    routes: {
      "/v1/_ping": Response.json({ standalone: true }),
      "/v1/search": Response.json(search),
      "/v2/": Response.json({}),
      "/v2/_catalog": Response.json({ repositories: ["some/any"] }),
    },
  });
});
afterAll(() => index.stop(true));

/** A /24 of 10.0.0.0/9 that no interface of this machine is in. */
function freeSubnet(): string {
  const addresses = Object.values(os.networkInterfaces()).flatMap((all) =>
    all?.map(({ address }) => address),
  );
  for (;;) {
    const prefix = `10.${crypto.randomInt(1, 127)}.${crypto.randomInt(0, 255)}.`;
    if (!addresses.some((address) => address?.startsWith(prefix))) return `${prefix}0`;
  }
}

const NEWEST = "1.55";
const VERSIONS = ["1.24", "1.41", "1.44", "1.46", "1.48", "1.50", "1.52", NEWEST];
/** With those that bring less. */
const MORE_VERSIONS = [...VERSIONS, "1.43", "1.45", "1.47", "1.49", "1.51", "1.53", "1.54"];

interface Compared {
  options: WorldOptions;
  /** Of the API, that it serves. */
  newest: string;
  versions: string[];
  builds: boolean;
  ownStore: boolean;
}

/** The builder of version 29 breaks off at the first image that a client of before 1.30 has it make. */
const BUILDS_SINCE = "1.30";

function answersOf({ options, newest, versions, builds, ownStore }: Compared): void {
  const world = useWorld(options);
  test.each(versions)("of version %s", async (request) => {
    const { engine, busybox: image, registry } = world();
    const versions = { request, engine: newest };
    const checked = new CheckedEngine(engine.suite.paths.dockerSocket, versions);
    const scene = {
      image,
      registry,
      index: `127.0.0.1:${index.port}`,
      subnet: freeSubnet(),
      builds:
        builds && newest === NEWEST && isOlder(request, BUILDS_SINCE) ? ("breaks off" as const) : builds,
      ownStore,
      ...versions,
    };
    try {
      await callEverything(checked, scene);
    } finally {
      // What a scenario that was broken off leaves; a real engine's bridge would stay for ever.
      const docker = world().docker();
      await docker.run(["rm", "-f", "full", "fuller", "minimal"]);
      await docker.run(["network", "rm", "schema-net"]);
    }
    expect(checked.problems).toEqual([]);
    expect([...checked.called, ...newerThan(request)].sort()).toEqual(Object.keys(OPERATIONS).sort());
  });
}

describe("answers of our engine are as the API's schema has them", () => {
  answersOf({ options: {}, newest: NEWEST, versions: VERSIONS, builds: false, ownStore: false });
});

describe.skipIf(!hasReference("the schema against the real dockerd"))(
  "the schema is that of the real dockerd",
  () => {
    const newest = REFERENCE_API_VERSION;
    answersOf({ options: reference, newest, versions: ["1.24", newest], builds: true, ownStore: true });
  },
);

describe.each(["overlay2", "containerd"] as const)(
  "the schema is that of the newest dockerd, images in %s",
  (store) => {
    const options = newestReference(`the schema against the newest dockerd, images in ${store}`, store);
    if (options)
      answersOf({
        options,
        newest: NEWEST,
        versions: MORE_VERSIONS,
        builds: true,
        ownStore: store === "overlay2",
      });
  },
);
