import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "@longshore/testkit";
import { type Answer, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

const call = (method: string, target: string, body?: unknown): Promise<Answer> =>
  world.api.call(method, target, body);
const none = (more: object) => ({ NetworkMode: "none", ...more });
const remove = (id: string) => call("DELETE", `/containers/${id}?force=1`);
const inspect = async (id: string, version = "") =>
  (await call("GET", `${version}/containers/${id}/json`)).json;

async function listed(filters: object, more = "all=1"): Promise<string[] | string> {
  const { status, json } = await call(
    "GET",
    `/containers/json?${more}&filters=${encodeURIComponent(JSON.stringify(filters))}`,
  );
  if (status !== 200) return `${status} ${json.message}`;
  return json.map(({ Names }: { Names: string[] }) => Names[0]?.slice(1)).sort();
}

describe("list", () => {
  const names = ["made", "ended", "runs"];
  beforeAll(async () => {
    const { api, image } = world;
    const ports = { ExposedPorts: { "8080/tcp": {}, "53/udp": {} } };
    await api.create(image, ["true"], { ...ports, HostConfig: none({}) }, "made");
    await api.create(image, ["sh", "-c", "exit 3"], { HostConfig: none({}) }, "ended");
    await call("POST", "/containers/ended/start");
    await call("POST", "/containers/ended/wait");
    const published = { PortBindings: { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] } };
    await api.create(image, ["sleep", "1000"], { ...ports, HostConfig: published }, "runs");
    await call("POST", "/containers/runs/start");
  });
  afterAll(async () => {
    for (const name of names) await remove(name);
  });

  // Filters, what is listed of all containers, and what without `all`, where that is something else.
  const cases: [object | null, string[] | string, (string[] | string)?][] = [
    [null, ["ended", "made", "runs"], ["runs"]],
    [{ status: { exited: false } }, ["ended"]],
    [{ exited: ["3"] }, ["ended"], []],
    [{ exited: ["0"] }, []],
    [{ exited: ["x"] }, "400 invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"],
    [{ before: ["runs"] }, ["ended", "made"], []],
    [{ since: ["made"] }, ["ended", "runs"], ["runs"]],
    [{ since: ["nobody"] }, "404 No such container: nobody"],
    [{ name: ["^/?(?:made|ended)$"] }, ["ended", "made"], []],
    [{ name: ["(?i)RUN"] }, ["runs"]],
    [{ name: ["["] }, []],
    [{ name: ["[", "made"] }, ["made"], []],
    [{ id: [""] }, []],
    [{ network: ["none"] }, ["ended", "made"], []],
    [{ isolation: ["hyperv"] }, ["ended", "made", "runs"], ["runs"]],
    [{ "is-task": ["false"] }, ["ended", "made", "runs"], ["runs"]],
    [{ "is-task": ["true"] }, []],
    [{ expose: ["8000-9000"] }, ["runs"]],
    [{ expose: ["53/udp"] }, ["runs"]],
    [{ expose: ["53"] }, []],
    [{ publish: ["8080"] }, []],
    [{ publish: ["1024-65535"] }, ["runs"]],
    [{ publish: ["80/nosuch"] }, []],
    [{ publish: ["80:80"] }, "400 filter for 'publish' should not contain ':': 80:80"],
    [
      { publish: ["2-1"] },
      "400 error while looking up for publish 2-1: Invalid range specified for the Port: 2-1",
    ],
    [
      { expose: ["99999"] },
      '400 error while looking up for expose 99999: strconv.ParseUint: parsing "99999": value out of range',
    ],
  ];
  test.each(cases)("%j", async (filters, all, running = all) => {
    expect(await listed(filters as object)).toEqual(all);
    expect(await listed(filters as object, "")).toEqual(running);
  });

  test("the port of the host is what is published", async () => {
    const port = (await inspect("runs")).NetworkSettings.Ports["8080/tcp"][0].HostPort;
    expect(await listed({ publish: [port] })).toEqual(["runs"]);
    expect(await listed({ expose: [port] })).toEqual([]);
  });

  test("an id's beginning counts when it is one container's", async () => {
    const { Id } = await inspect("made");
    expect(await listed({ id: [Id.slice(0, 20)] })).toEqual(["made"]);
  });

  test("limit", async () => {
    const count = async (limit: string) => {
      const { status, json } = await call("GET", `/containers/json?limit=${limit}`);
      return status === 200 ? json.length : `${status} ${json.message}`;
    };
    expect(await Promise.all(["2", "-1", "0", "%2B1"].map(count))).toEqual([2, 1, 1, 1]);
    expect(await count("99999999999999999999")).toEndWith("value out of range");
  });

  test("an image is shown by its id once its name is another's", async () => {
    const tag = (name: string) => call("POST", `/images/${encodeURIComponent(world.image)}/tag?repo=${name}`);
    await tag("named");
    const id = await world.api.create("named", ["true"], { HostConfig: none({}) }, "by-name");
    const shown = async () => {
      const { json } = await call("GET", `/containers/json?all=1&filters={"name":["by-name"]}`);
      return [json[0].Image, json[0].ImageID];
    };
    const [name, imageId] = await shown();
    expect(name).toBe("named");
    await call("DELETE", "/images/named?force=1");
    expect(await shown()).toEqual([imageId, imageId]);
    // Whose the name is by now can't be found out; the list is there all the same.
    const { suite } = world.engine;
    await suite.kill("containerd", "SIGKILL");
    expect(await shown()).toEqual(["named", imageId]);
    await suite.start("containerd");
    await eventually(async () => (await shown())[0] === imageId, { what: "containerd's answer" });
    await remove(id);
  });
});
