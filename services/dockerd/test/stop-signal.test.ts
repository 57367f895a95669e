import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { busyboxImage, findStaticBusybox, type ImageServer, serveImages } from "@longshore/suite";
import { eventually } from "@longshore/testkit";
import { openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);

/** Exits with status 33 on SIGTERM. */
const ENDS_BY_TERM = ["sh", "-c", 'trap "exit 33" TERM; while :; do sleep 0.05; done'];

let world: TestEngine;
let server: ImageServer;
/** An image whose stop signal does not exist. */
let image: string;

beforeAll(async () => {
  world = await openEngine();
  const busybox = findStaticBusybox() as string;
  const images = { "odd:1": busyboxImage(busybox, { StopSignal: "NOTASIGNAL" }) };
  server = await serveImages({ images });
  image = `${server.host}/odd:1`;
  const pulled = await world.api.call("POST", `/images/create?fromImage=${image}`);
  expect(pulled.text).toContain("Downloaded newer image");
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const inspect = async (id: string) => (await world.api.call("GET", `/containers/${id}/json`)).json;

test("a container whose image names an unknown stop signal is stopped by SIGTERM", async () => {
  const { api } = world;
  const id = await api.run(image, ENDS_BY_TERM);
  expect((await inspect(id)).Config.StopSignal).toBe("NOTASIGNAL");
  expect((await api.call("POST", `/containers/${id}/stop?t=20`)).status).toBe(204);
  expect((await inspect(id)).State).toMatchObject({ Status: "exited", ExitCode: 33 });
  expect((await api.call("DELETE", `/containers/${id}`)).status).toBe(204);
});

test("a container with an unknown stop signal takes SIGUSR1 and SIGTERM by kill", async () => {
  const { api } = world;
  const id = await api.run(image, ["sh", "-c", `trap : USR1; ${ENDS_BY_TERM[2]}`]);
  for (const signal of ["SIGUSR1", "SIGTERM"])
    expect((await api.call("POST", `/containers/${id}/kill?signal=${signal}`)).status).toBe(204);
  await eventually(async () => (await inspect(id)).State.Status === "exited", { what: "the exit" });
  expect((await inspect(id)).State.ExitCode).toBe(33);
  expect((await api.call("DELETE", `/containers/${id}`)).status).toBe(204);
});

test("an unhealthy container with an unknown stop signal is restarted by its policy", async () => {
  const { api } = world;
  const id = await api.run(image, ENDS_BY_TERM, {
    Labels: { "longshore.restart-unhealthy": "true" },
    HostConfig: { NetworkMode: "none", RestartPolicy: { Name: "always" } },
    Healthcheck: { Test: ["CMD", "false"], Interval: 50_000_000, Retries: 1 },
  });
  await eventually(async () => (await inspect(id)).RestartCount > 0, { what: "the restart" });
  expect((await api.call("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
});
