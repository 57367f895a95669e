import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { busyboxImage, findStaticBusybox, type ImageServer, serveImages } from "@longshore/suite";
import { openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);

/** Settings of images that no container can run with, and the error that a client gets. */
const REFUSED: Record<string, [settings: Record<string, unknown>, message: string]> = {
  "an exposed port that is a word": [
    { ExposedPorts: { "http/tcp": {} } },
    'invalid port specification: "http/tcp"',
  ],
  "an exposed port of an unknown protocol": [
    { ExposedPorts: { "80/xyz": {} } },
    'invalid port specification: "80/xyz"',
  ],
  "more exposed ports than there are": [
    { ExposedPorts: Object.fromEntries([2, 3, 4, 5].map((from) => [`${from}-65535`, {}])) },
    "invalid ExposedPorts: more ports than there are",
  ],
  "a relative working directory": [
    { WorkingDir: "data" },
    "the working directory 'data' is invalid, it needs to be an absolute path",
  ],
  "a volume at /": [{ Volumes: { "/": {} } }, "invalid specification: destination can't be '/'"],
  "a volume above /": [{ Volumes: { "/a/../..": {} } }, "invalid specification: destination can't be '/'"],
  "a volume without a path": [{ Volumes: { "": {} } }, "invalid specification: destination can't be '/'"],
  "a negative health interval": [
    { Healthcheck: { Test: ["CMD", "true"], Interval: -5 } },
    "Interval in Healthcheck cannot be less than 1ms",
  ],
  "negative health retries": [
    { Healthcheck: { Test: ["CMD", "true"], Retries: -1 } },
    "Retries in Healthcheck cannot be negative",
  ],
  "a null character in a variable": [{ Env: ["A=b\0c"] }, "invalid Env: it contains a null character"],
  "a null character in the command": [{ Cmd: ["sh\0x"] }, "invalid Cmd: it contains a null character"],
  "a null character in the user": [{ User: "root\0" }, "invalid User: it contains a null character"],
};
/** Places of volumes where the engine mounts something of its own. */
const PLACES = ["/proc", "/proc/self", "/sys", "/dev", "/dev/pts", "/sys/fs/cgroup", "/../../../etc"];
/** With a volume at one of these, a container does not start. */
const REFUSED_PLACES = ["/proc", "/proc/self", "/dev"];

let world: TestEngine;
let server: ImageServer;

beforeAll(async () => {
  const busybox = findStaticBusybox() as string;
  const settings = [
    ...Object.values(REFUSED).map(([one], at) => [`refused-${at}`, one] as const),
    ...PLACES.map((place, at) => [`place-${at}`, { Volumes: { [place]: {} } }] as const),
  ];
  const images = settings.map(([name, one]) => [`${name}:1`, busyboxImage(busybox, one)]);
  server = await serveImages({ images: Object.fromEntries(images) });
  world = await openEngine();
  for (const [name] of settings) {
    const pulled = await world.api.call("POST", `/images/create?fromImage=${server.host}/${name}:1`);
    expect(pulled.text).toContain("Downloaded newer image");
  }
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test.each(Object.entries(REFUSED))("an image with %s makes no container", async (what, [, message]) => {
  const { api } = world;
  const at = Object.keys(REFUSED).indexOf(what);
  const body = { Image: `${server.host}/refused-${at}:1`, HostConfig: { NetworkMode: "none" } };
  const answer = await api.call("POST", "/containers/create", body);
  expect([answer.status, answer.json.message]).toEqual([400, expect.stringContaining(message)]);
  expect((await api.call("GET", "/containers/json?all=1")).json).toEqual([]);
  expect((await api.call("GET", "/volumes")).json.Volumes).toEqual([]);
  expect((await api.call("GET", `/images/${body.Image}/json`)).status).toBe(200);
});

test.each(PLACES)("an image's volume at %s hides nothing that the engine mounts", async (place) => {
  const { api } = world;
  const image = `${server.host}/place-${PLACES.indexOf(place)}:1`;
  const look =
    "stat -f -c %T /proc; stat -f -c %T /proc/self/; echo x > /proc/sys/kernel/core_pattern; ls /etc/hosts";
  const id = await api.create(image, ["sh", "-c", `echo $( (${look}) 2>&1 )`]);
  const { status, json } = await api.call("POST", `/containers/${id}/start`);
  if (REFUSED_PLACES.includes(place)) {
    expect([status >= 400, json.message]).toEqual([true, expect.stringContaining(place)]);
  } else {
    expect(status).toBe(204);
    await api.call("POST", `/containers/${id}/wait`);
    const { text } = await api.call("GET", `/containers/${id}/logs?stdout=1`);
    expect(text).toMatch(/proc proc sh: can't create \S+: Read-only file system \/etc\/hosts\n$/);
  }
  expect((await api.call("DELETE", `/containers/${id}?v=1`)).status).toBe(204);
  expect((await api.call("GET", "/volumes")).json.Volumes).toEqual([]);
});
