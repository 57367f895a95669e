import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { busyboxImage, findStaticBusybox, type ImageServer, serveImages } from "@longshore/suite";
import { openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);

/** Settings of images that no container can run with, and what a client is told when it creates one. */
const REFUSED: Record<string, [settings: Record<string, unknown>, message: string]> = {
  port: [{ ExposedPorts: { "http/tcp": {} } }, 'invalid port specification: "http/tcp"'],
  "port-of-no-protocol": [{ ExposedPorts: { "80/xyz": {} } }, 'invalid port specification: "80/xyz"'],
  "ports-in-excess": [
    { ExposedPorts: Object.fromEntries([2, 3, 4, 5].map((from) => [`${from}-65535`, {}])) },
    "invalid ExposedPorts: more ports than there are",
  ],
  "working-dir": [
    { WorkingDir: "data" },
    "the working directory 'data' is invalid, it needs to be an absolute path",
  ],
  "volume-of-root": [{ Volumes: { "/": {} } }, "invalid specification: destination can't be '/'"],
  "volume-above-root": [{ Volumes: { "/a/../..": {} } }, "invalid specification: destination can't be '/'"],
  "volume-without-name": [{ Volumes: { "": {} } }, "invalid specification: destination can't be '/'"],
  "interval-below-zero": [
    { Healthcheck: { Test: ["CMD", "true"], Interval: -5 } },
    "Interval in Healthcheck cannot be less than 1ms",
  ],
  "retries-below-zero": [
    { Healthcheck: { Test: ["CMD", "true"], Retries: -1 } },
    "Retries in Healthcheck cannot be negative",
  ],
  "null-in-env": [{ Env: ["A=b\0c"] }, "invalid Env: it contains a null character"],
  "null-in-command": [{ Cmd: ["sh\0x"] }, "invalid Cmd: it contains a null character"],
  "null-in-user": [{ User: "root\0" }, "invalid User: it contains a null character"],
};
/** Volumes where the engine mounts the kernel's file systems. */
const PLACES = ["/proc", "/proc/self", "/sys", "/dev", "/dev/pts", "/sys/fs/cgroup", "/../../../etc"];
/** Those of them that a container does not start with. */
const REFUSED_PLACES = ["/proc", "/proc/self", "/dev"];

let world: TestEngine;
let server: ImageServer;

beforeAll(async () => {
  const busybox = findStaticBusybox() as string;
  const settings = [
    ...Object.entries(REFUSED).map(([name, [one]]) => [name, one] as const),
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

test.each(Object.entries(REFUSED))(
  "an image with a wrong %s makes no container",
  async (name, [, message]) => {
    const { api } = world;
    const body = { Image: `${server.host}/${name}:1`, HostConfig: { NetworkMode: "none" } };
    const answer = await api.call("POST", "/containers/create", body);
    expect([answer.status, answer.json.message]).toEqual([400, expect.stringContaining(message)]);
    expect((await api.call("GET", "/containers/json?all=1")).json).toEqual([]);
    expect((await api.call("GET", "/volumes")).json.Volumes).toEqual([]);
    expect((await api.call("GET", `/images/${body.Image}/json`)).status).toBe(200);
  },
);

test.each(PLACES)("an image's volume at %s takes nothing from what the engine mounts", async (place) => {
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
