import { beforeAll, describe, expect, test } from "bun:test";
import net from "node:net";
import { BAD_CONTAINER_REQUESTS, type Bad } from "./bad-container-requests.ts";
import { api } from "./engine-api.ts";
import { hasReference, reference } from "./reference.ts";
import { useWorld, type World, type WorldOptions } from "./world.ts";

const create = (config: object) => JSON.stringify({ Image: "IMAGE", Cmd: ["true"], ...config });
const host = (config: object) => create({ HostConfig: config });
const CREATE = "POST /containers/create?name=bad";
const ID = "0123456789abcdef".repeat(4);

/** Requests that are wrong. `made` is a container that was created and never started, `IMAGE` an image that is there. */
const BAD: readonly Bad[] = [
  ...BAD_CONTAINER_REQUESTS,
  // JSON that is none, or of the wrong shape
  { request: CREATE, body: "{", status: 400, says: /./, old: 500 },
  { request: CREATE, body: '{"Image":', status: 400, says: /./, old: 500 },
  { request: CREATE, body: "[]", status: 400, says: /./, old: 500 },
  { request: CREATE, body: '"text"', status: 400, says: /./, old: 500 },
  { request: CREATE, body: "null", status: 400, says: /./ },
  { request: CREATE, body: create({ Image: 5 }), status: 400, says: /Image/, old: 500 },
  { request: CREATE, body: create({ Cmd: { a: 1 } }), status: 400, says: /./, old: 500 },
  { request: CREATE, body: create({ Env: "A=1" }), status: 400, says: /Env/, old: 500 },
  { request: CREATE, body: create({ Labels: ["a"] }), status: 400, says: /Labels/, old: 500 },
  { request: CREATE, body: create({ ExposedPorts: ["80"] }), status: 400, says: /ExposedPorts/, old: 500 },
  {
    request: CREATE,
    body: create({ Healthcheck: { Interval: "1s" } }),
    status: 400,
    says: /Interval/,
    old: 500,
  },
  { request: CREATE, body: host({ Memory: "1g" }), status: 400, says: /Memory/, old: 500 },
  { request: CREATE, body: host({ Binds: "/a:/b" }), status: 400, says: /Binds/, old: 500 },
  { request: CREATE, body: host({ PortBindings: { "80/tcp": {} } }), status: 400, says: /./, old: 500 },
  // values that can't be
  { request: CREATE, body: host({ Memory: 1 }), status: 400, says: /Minimum memory limit allowed is [46]MB/ },
  { request: CREATE, body: host({ Memory: 64 << 20, MemorySwap: 1 << 20 }), status: 400, says: /swap/i },
  { request: CREATE, body: host({ NanoCpus: 1e15 }), status: 400, says: /CPUs/ },
  { request: CREATE, body: host({ RestartPolicy: { Name: "nosuch" } }), status: 400, says: /nosuch/ },
  {
    request: CREATE,
    body: host({ PortBindings: { "80/nosuch": [] } }),
    status: 400,
    says: /80\/nosuch|proto/,
    old: 201,
  },
  { request: CREATE, body: host({ PortBindings: { "x/tcp": [] } }), status: 400, says: /x/ },
  { request: CREATE, body: host({ Binds: ["a:b:c:d:e"] }), status: 400, says: /a:b:c:d:e/, old: 500 },
  { request: CREATE, body: host({ Binds: ["/a:/b:nosuch"] }), status: 400, says: /mode/, old: 500 },
  { request: CREATE, body: host({ Binds: ["v:relative"] }), status: 400, says: /absolute/, old: 500 },
  { request: CREATE, body: host({ CapAdd: ["NOSUCH"] }), status: 400, says: /CAP_NOSUCH|NOSUCH/ },
  { request: CREATE, body: host({ NetworkMode: "container:" }), status: 400, says: /container format/ },
  { request: CREATE, body: host({ LogConfig: { Type: "nosuch" } }), status: 400, says: /nosuch/, slow: true },
  { request: CREATE, body: host({ Runtime: "nosuch" }), status: 400, says: /nosuch/ },
  {
    request: CREATE,
    body: host({ AutoRemove: true, RestartPolicy: { Name: "always" } }),
    status: 400,
    says: /AutoRemove|restart/,
  },
  { request: CREATE, body: create({ StopSignal: "SIGNOSUCH" }), status: 400, says: /signal/i },
  { request: CREATE, body: create({ WorkingDir: "relative" }), status: 400, says: /working directory/i },
  { request: CREATE, body: create({ Env: ["=x"] }), status: 400, says: /environment variable/ },
  // names
  {
    request: "POST /containers/create?name=a%20b",
    body: create({}),
    status: 400,
    says: /Invalid container name \(a b\)/,
  },
  {
    request: "POST /containers/create?name=-a",
    body: create({}),
    status: 400,
    says: /Invalid container name/,
  },
  {
    request: "POST /containers/create?name=a%2Fb",
    body: create({}),
    status: 400,
    says: /Invalid container name/,
  },
  {
    request: "POST /containers/create?name=made",
    body: create({}),
    status: 409,
    says: /"\/made" is already in use/,
  },
  { request: "POST /containers/made/rename?name=%C3%A9", status: 400, says: /Invalid container name/ },
  { request: "POST /containers/made/rename", status: 400, says: /name/ },
  { request: "POST /containers/made/rename?name=made", status: 400, says: /same name|already/ },
  { request: CREATE, body: create({ Image: "nosuch:1" }), status: 404, says: /No such image: nosuch:1/ },
  { request: CREATE, body: create({ Image: "UPPER" }), status: 400, says: /invalid reference format/ },
  // unknown ids
  ...[
    "GET /containers/ID/json",
    "GET /containers/ID/logs?stdout=1",
    "GET /containers/ID/top",
    "GET /containers/ID/changes",
  ].map((request) => ({ request, status: 404, says: /No such container/ })),
  ...[
    "start",
    "stop",
    "restart",
    "kill",
    "pause",
    "unpause",
    "resize?h=1&w=1",
    "wait",
    "attach?logs=1",
    "rename?name=x",
  ].map((what) => ({ request: `POST /containers/ID/${what}`, status: 404, says: /No such container/ })),
  { request: "POST /containers/ID/update", body: "{}", status: 404, says: /No such container/ },
  { request: "POST /containers/ID/exec", body: '{"Cmd":["a"]}', status: 404, says: /No such container/ },
  { request: "DELETE /containers/ID", status: 404, says: /No such container/ },
  { request: "GET /exec/ID/json", status: 404, says: /No such exec instance/ },
  { request: "GET /images/nosuch/json", status: 404, says: /No such image: nosuch/ },
  { request: "GET /images/nosuch/history", status: 404, says: /No such image: nosuch/ },
  { request: "DELETE /images/nosuch", status: 404, says: /No such image: nosuch/ },
  { request: "POST /images/nosuch/tag?repo=a", status: 404, says: /No such image: nosuch/ },
  { request: "GET /networks/nosuch", status: 404, says: /network nosuch not found/ },
  { request: "DELETE /networks/nosuch", status: 404, says: /network nosuch not found/ },
  {
    request: "POST /networks/nosuch/connect",
    body: '{"Container":"made"}',
    status: 404,
    says: /network nosuch not found/,
    old: 200,
  },
  {
    request: "POST /networks/bridge/connect",
    body: '{"Container":"ID"}',
    status: 404,
    says: /No such container/,
  },
  { request: "GET /volumes/nosuch", status: 404, says: /no such volume/ },
  { request: "DELETE /volumes/nosuch", status: 404, says: /no such volume/ },
  { request: "POST /commit?container=ID", body: "{}", status: 404, says: /No such container/ },
  { request: "GET /no/such/path", status: 404, says: /page not found/ },
  // a state in which it can't be
  { request: "POST /containers/made/kill", status: 409, says: /is not running/ },
  { request: "POST /containers/made/pause", status: 409, says: /is not running/ },
  { request: "POST /containers/made/unpause", status: 409, says: /is not paused/, old: 500 },
  { request: "GET /containers/made/top", status: 409, says: /is not running/ },
  { request: "POST /containers/made/exec", body: '{"Cmd":["a"]}', status: 409, says: /is not running/ },
  // parameters
  { request: "GET /containers/made/logs", status: 400, says: /choose at least one stream/ },
  { request: "GET /containers/made/logs?stdout=1&since=x", status: 400, says: /x/, old: 500 },
  { request: "POST /containers/made/kill?signal=NOSUCH", status: 400, says: /Invalid signal: NOSUCH/i },
  { request: "POST /containers/made/stop?t=x", status: 400, says: /x/, old: 500 },
  { request: "POST /containers/made/resize?h=x&w=1", status: 400, says: /x/ },
  { request: "POST /containers/made/resize", status: 400, says: /strconv.Atoi: parsing "": invalid syntax/ },
  { request: "POST /containers/made/resize?h=5", status: 400, says: /parsing "": invalid syntax/ },
  { request: "POST /exec/none/resize?w=5", status: 400, says: /parsing "": invalid syntax/ },
  { request: "GET /containers/json?limit=x", status: 400, says: /x/, old: 500 },
  { request: "GET /containers/json?filters={", status: 400, says: /./, old: 500 },
  { request: 'GET /containers/json?filters={"nosuch":["a"]}', status: 400, says: /invalid filter 'nosuch'/i },
  { request: 'GET /containers/json?filters={"status":["nosuch"]}', status: 400, says: /nosuch/ },
  { request: 'GET /images/json?filters={"dangling":["maybe"]}', status: 400, says: /dangling/ },
  { request: 'GET /networks?filters={"nosuch":["a"]}', status: 400, says: /invalid filter 'nosuch'/i },
  { request: 'GET /volumes?filters={"nosuch":["a"]}', status: 400, says: /invalid filter 'nosuch'/i },
  { request: "GET /events?since=x&until=1", status: 400, says: /x/, old: 500 },
  {
    request: "POST /containers/made/exec",
    body: '{"Cmd":[]}',
    status: 400,
    says: /No exec command specified/,
  },
  { request: "POST /containers/made/update", body: '{"Memory":"x"}', status: 400, says: /Memory/, old: 500 },
  // networks and volumes
  { request: "POST /networks/create", body: "{}", status: 400, says: /name/, old: 500 },
  {
    request: "POST /networks/create",
    body: '{"Name":"bridge","CheckDuplicate":true}',
    status: 403,
    says: /pre-defined|bridge/,
  },
  {
    request: "POST /networks/create",
    body: '{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.0/99"}]}}',
    status: 400,
    says: /10\.0\.0\.0\/99/,
    old: 500,
  },
  {
    request: "POST /networks/create",
    body: '{"Name":"n","Driver":"nosuch"}',
    status: 404,
    says: /nosuch/,
    slow: true,
  },
  { request: "DELETE /networks/bridge", status: 403, says: /pre-defined/ },
  {
    request: "POST /volumes/create",
    body: '{"Name":"a b"}',
    status: 400,
    says: /includes invalid characters/,
  },
  {
    request: "POST /volumes/create",
    body: '{"Name":"vol","Driver":"nosuch"}',
    status: 404,
    says: /nosuch/,
    slow: true,
  },
  {
    request: "POST /volumes/create",
    body: '{"Name":"vol","DriverOpts":{"nosuch":"x"}}',
    status: 400,
    says: /invalid option: "nosuch"/,
  },
  { request: "POST /images/IMAGE/tag?repo=UPPER", status: 400, says: /lowercase/, old: 500 },
  { request: "POST /images/create?fromImage=UPPER", status: 400, says: /invalid reference format/ },
  { request: "POST /images/create?fromImage=scratch", status: 403, says: /'scratch' is a reserved name/ },
  // the names of fields in another case
  {
    request: CREATE,
    body: '{"image":"IMAGE","cmd":["true"],"hostconfig":{"restartpolicy":{"name":"nosuch"}}}',
    status: 400,
    says: /nosuch/,
  },
  // attach, wait, remove, archives, commit
  {
    request: "POST /containers/made/attach?detachKeys=nosuch",
    status: 400,
    says: /Invalid detach keys \(nosuch/,
  },
  { request: "POST /containers/made/wait?condition=nosuch", status: 400, says: /"nosuch"/, old: 200 },
  { request: "POST /containers/ID/wait?condition=removed", status: 404, says: /No such container/ },
  {
    request: "DELETE /containers/made?link=1",
    status: 400,
    says: /cannot remove the default link/,
    old: 500,
  },
  { request: "DELETE /containers/ID?link=1", status: 404, says: /No such container/ },
  { request: "GET /containers/ID/archive", status: 400, says: /path/ },
  { request: "GET /containers/ID/archive?path=/", status: 404, says: /No such container/ },
  {
    request: "GET /containers/made/archive?path=nosuch",
    status: 404,
    says: /the file .?nosuch in container made/,
  },
  {
    request: "GET /containers/made/archive?path=etc/passwd/",
    status: 400,
    says: /not a directory/,
    old: 500,
  },
  {
    request: "PUT /containers/made/archive?path=/nosuch",
    body: "x",
    status: 404,
    says: /\/nosuch in container made/,
  },
  {
    request: "PUT /containers/made/archive?path=/etc/passwd",
    body: "x",
    status: 400,
    says: /^extraction point is not a directory/,
    old: 500,
  },
  { request: "POST /commit", body: "{}", status: 400, says: /invalid name or ID supplied: ""/ },
  { request: "POST /commit?container=made&repo=UPPER", body: "{}", status: 400, says: /lowercase/, old: 500 },
  {
    request: "POST /commit?container=made&repo=a&tag=b:c",
    body: "{}",
    status: 400,
    says: /invalid tag/,
    old: 500,
  },
  ...(
    [
      ["RUN x", /run is not a valid change command/i],
      ["ENV a", /ENV must have two arguments/],
      ["EXPOSE x", /[Ii]nvalid containerPort: x/],
      ["USER", /USER requires exactly one argument/],
      ["HEALTHCHECK x", /Unknown type "X" in HEALTHCHECK/],
      ['VOLUME [""]', /VOLUME specified can not be an empty string/],
      ["ONBUILD FROM x", /FROM isn't allowed as an ONBUILD trigger/],
      ["ONBUILD ONBUILD RUN x", /Chaining ONBUILD/],
    ] as const
  ).map(([change, says]) => ({
    ...{ request: `POST /commit?container=made&changes=${encodeURIComponent(change)}`, body: "{}" },
    ...{ status: 400, says },
  })),
  // execs
  { request: "POST /containers/ID/exec", body: "{}", status: 400, says: /No exec command specified/ },
  { request: "POST /exec/none/start", body: "{", status: 400, says: /./ },
  { request: "POST /exec/none/start", body: "{}", status: 404, says: /No such exec instance/ },
  { request: "POST /exec/none/resize?h=1&w=1", status: 404, says: /No such exec instance/ },
  // filters
  ...["volumes", "networks", "images/json"].map((list) => ({
    request: `GET /${list}?filters={"dangling":["maybe"]}`,
    status: 400,
    says: /filter 'dangling/i,
  })),
  { request: 'GET /networks?filters={"dangling":["1","0"]}', status: 400, says: /dangling/ },
  { request: 'GET /networks?filters={"type":["nosuch"]}', status: 400, says: /'type'='nosuch'/, old: 500 },
  { request: 'GET /images/json?filters={"before":["nosuch"]}', status: 404, says: /No such image: nosuch/ },
  { request: 'GET /images/json?filters={"before":["UPPER"]}', status: 400, says: /invalid reference format/ },
  {
    request: 'GET /images/json?filters={"reference":["["]}',
    status: 400,
    says: /syntax error in pattern/,
    old: 500,
  },
  { request: "GET /images/search?term=x&limit=x", status: 400, says: /strconv.Atoi: parsing "x"/, old: 500 },
  {
    request: `GET /distribution/${"a".repeat(64)}/json`,
    status: 500,
    says: /^no manifest found for full image ID$/,
  },
  { request: "POST /images/create?fromImage=x&tag=a:b", status: 400, says: /^invalid tag format$/ },
  {
    request: "POST /images/create?fromSrc=http://127.0.0.1:1/x",
    status: 500,
    says: /^Get "?http:\/\/127.0.0.1:1\/x"?: dial tcp 127.0.0.1:1: connect: connection refused$/,
  },
  {
    request: 'GET /images/search?term=x&filters={"stars":["x"]}',
    status: 400,
    says: /invalid filter 'stars/i,
  },
  { request: 'GET /plugins?filters={"enabled":["x"]}', status: 400, says: /invalid filter 'enabled/i },
  ...["containers", "networks", "images", "volumes"].map((kind) => ({
    request: `POST /${kind}/prune?filters={"nosuch":["a"]}`,
    status: 400,
    says: /invalid filter 'nosuch'/i,
  })),
  ...["containers", "networks", "images"].flatMap((kind) => [
    {
      request: `POST /${kind}/prune?filters={"until":["x"]}`,
      status: 400,
      says: /failed to parse value as time or duration: "x"/,
      old: 500,
    },
    {
      request: `POST /${kind}/prune?filters={"until":["1h","2h"]}`,
      status: 400,
      says: /more than one until filter specified/,
      old: 500,
    },
  ]),
  { request: 'POST /images/prune?filters={"dangling":["x"]}', status: 400, says: /filter 'dangling=\[x\]'/i },
  { request: 'POST /volumes/prune?filters={"until":["1h"]}', status: 400, says: /invalid filter 'until'/i },
  {
    request: "GET /events?since=2&until=1",
    status: 400,
    says: /`since` time \(2\) cannot be after `until` time \(1\)/,
  },
  // images
  { request: "GET /images/UPPER/json", status: 400, says: /invalid reference format/ },
  { request: "DELETE /images/UPPER", status: 400, says: /invalid reference format/ },
  { request: "DELETE /images/%20", status: 400, says: /image name cannot be blank/ },
  {
    request: "POST /images/IMAGE/tag?repo=sha256",
    status: 400,
    says: /ambiguous tag using digest algorithm/,
  },
  { request: `POST /images/IMAGE/tag?repo=a@sha256:ID`, status: 400, says: /digest reference/ },
  { request: "POST /images/IMAGE/tag?repo=ID", status: 400, says: /64-byte hexadecimal/, old: 500 },
  // networks
  {
    request: "GET /networks/bridge?verbose=x",
    status: 400,
    says: /invalid value for verbose: x: strconv.ParseBool/,
  },
  { request: "GET /networks/bridge?scope=swarm", status: 404, says: /network bridge not found/ },
  {
    request: "POST /networks/create",
    body: '{"Name":"default"}',
    status: 403,
    says: /predefined default network/,
  },
  {
    request: "POST /networks/create",
    body: '{"Name":"n","Ingress":true}',
    status: 403,
    says: /Ingress network can only be global scope network/,
  },
  {
    request: "POST /networks/create",
    body: '{"Name":"n","Scope":"swarm"}',
    status: 403,
    says: /cannot create a swarm scoped network when swarm is not active/,
  },
  {
    request: "POST /networks/nosuch/connect",
    body: '{"Container":"ID"}',
    status: 404,
    says: /No such container/,
  },
  {
    request: "POST /networks/bridge/disconnect",
    body: '{"Container":"ID"}',
    status: 404,
    says: /No such container/,
  },
  ...["connect", "disconnect"].map((what) => ({
    ...{ request: `POST /networks/bridge/${what}`, body: "{}" },
    ...{ status: 400, says: /invalid name or ID supplied: ""/ },
  })),
  // what is not in a swarm has none of these
  { request: "GET /swarm", status: 503, says: /not a swarm manager/ },
  { request: "GET /swarm/nosuch", status: 404, says: /page not found/ },
  { request: "GET /swarm/unlockkey", status: 503, says: /not a swarm manager/ },
  { request: "POST /swarm/unlock", body: "{}", status: 503, says: /not a swarm manager/ },
  { request: "POST /swarm/update", body: "{}", status: 400, says: /invalid swarm version ''/ },
  { request: "POST /swarm/leave", status: 503, says: /not part of a swarm/ },
  ...["nodes", "services", "tasks", "secrets", "configs"].flatMap((kind) => [
    { request: `GET /${kind}`, status: 503, says: /not a swarm manager/ },
    { request: `GET /${kind}/x`, status: 503, says: /not a swarm manager/ },
    { request: `GET /${kind}/x/nosuch`, status: 404, says: /page not found/ },
    { request: `POST /${kind}`, body: "{}", status: 404, says: /page not found/ },
  ]),
  ...["node", "service", "secret", "config"].flatMap((kind) => [
    { request: `DELETE /${kind}s/x`, status: 503, says: /not a swarm manager/ },
    { request: `POST /${kind}s/x/update?version=1`, body: "{}", status: 503, says: /not a swarm manager/ },
    {
      request: `POST /${kind}s/x/update`,
      body: "{}",
      status: 400,
      says: new RegExp(`invalid ${kind} version`),
    },
  ]),
  { request: "DELETE /tasks/x", status: 404, says: /page not found/ },
  { request: "POST /nodes/create", body: "{}", status: 404, says: /page not found/ },
  { request: "GET /tasks/x/logs", status: 400, says: /choose at least one stream/, old: 500 },
  { request: "GET /services/x/logs?stdout=1", status: 503, says: /not a swarm manager/ },
  { request: "POST /plugins/x/disable", status: 404, says: /plugin "x" not found/ },
];

/** Operations that clients of an older version don't have. */
const NEWER = [
  ["GET /v1.24/secrets", "1.25"],
  ["POST /v1.24/volumes/prune", "1.25"],
  ["POST /v1.24/containers/prune", "1.25"],
  ["GET /v1.28/tasks/x/logs", "1.29"],
  ["GET /v1.29/configs/x", "1.30"],
  ["GET /v1.29/distribution/x/json", "1.30"],
  ["POST /v1.30/build/prune", "1.31"],
  ["PUT /v1.41/volumes/x", "1.42"],
] as const;

function refusalsOf(options: WorldOptions, isOld: boolean): () => World {
  const world = useWorld(options);
  const fill = (text: string) => text.replaceAll("IMAGE", world().busybox).replaceAll("ID", ID);
  beforeAll(async () => {
    const answer = await api(world(), "POST", "/v1.41/containers/create?name=made", fill(create({})));
    expect(answer.status).toBe(201);
  });
  test.each(
    BAD.filter(({ slow }) => !(isOld && slow)).map((bad) => [bad.request, bad.body ?? "", bad] as const),
  )("%s %s", async (_request, _body, { request, body, status, says, old }) => {
    const [method = "", path = ""] = request.split(/ (.*)/);
    const target = `/v1.41${fill(path).replaceAll("{", "%7B")}`;
    const answer = await api(world(), method, target, body && fill(body));
    if (answer.status === 201) await api(world(), "DELETE", "/v1.41/containers/bad");
    const wanted =
      isOld && old !== undefined ? { status: old } : { status, message: expect.stringMatching(says) };
    expect({ ...answer, message: answer.message || answer.body }).toMatchObject(wanted);
  });
  test("they have changed nothing", async () => {
    const docker = world().docker();
    expect(await docker("ps", "-a", "--format", "{{.Names}} {{.Status}}")).toBe("made Created");
    expect(await docker("volume", "ls", "-q")).toBe("");
    expect(await docker("network", "ls", "--format", "{{.Name}}")).toBe("bridge\nhost\nnone");
  });
  return world;
}

/** Send bytes that are hardly HTTP, and read what comes until the connection ends or an answer is there. */
async function raw(world: World, bytes: string): Promise<string> {
  const socket = net.connect(world.engine.suite.paths.dockerSocket);
  socket.write(bytes);
  let text = "";
  await new Promise<void>((resolve) => {
    socket.on("data", (chunk) => {
      text += chunk.toString();
      if (text.includes("\r\n\r\n")) resolve();
    });
    socket.once("close", () => resolve());
    socket.once("error", () => resolve());
  });
  socket.destroy();
  return text.split("\r\n")[0] ?? "";
}

describe("bad requests are refused with Docker's status and kind of message", () => {
  const world = refusalsOf({}, false);

  test.each(NEWER)("%s needs a newer version", async (request, version) => {
    const [method = "", target = ""] = request.split(" ");
    const { status, message } = await api(world(), method, target);
    expect(status).toBe(400);
    expect(message).toEndWith(`requires minimum API version ${version}`);
  });

  test("what is hardly HTTP is refused, and the daemon goes on", async () => {
    const pid = world().engine.suite.pid("dockerd");
    const line = (target: string) => `GET ${target} HTTP/1.1\r\nHost: docker\r\n\r\n`;
    expect(await raw(world(), line("//"))).toMatch(/ 40[04] /);
    expect(await raw(world(), line("//%zz"))).toMatch(/ 40[04] /);
    expect(await raw(world(), line("/containers/%zz/json"))).toMatch(/ 40[04] /);
    expect(await raw(world(), line("/images/%25zz/json"))).toMatch(/ 40[04] /);
    expect(await raw(world(), line("http://["))).toMatch(/ 400 /);
    expect(await raw(world(), "nonsense\r\n\r\n")).toMatch(/^(HTTP\/1\.1 400 .*|)$/);
    expect(await raw(world(), line(`/containers/${"a".repeat(5000)}/json`))).toMatch(/ 4\d\d /);
    expect(await raw(world(), line(`/${"a".repeat(200_000)}`))).toMatch(/^(HTTP\/1\.1 4\d\d .*|)$/);
    expect((await api(world(), "GET", "/_ping")).body).toBe("OK");
    expect(world().engine.suite.pid("dockerd")).toBe(pid);
  });

  test("a body beyond the limit is refused, announced or not, and not kept", async () => {
    const big = JSON.stringify({ Image: "x", Labels: { a: "x".repeat(5 << 20) } });
    const answer = await api(world(), "POST", "/v1.41/containers/create?name=bad", big);
    expect(answer.status).toBe(413);
    expect(answer.message).toContain("larger than");
    const head = `POST /v1.41/containers/create HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n`;
    expect(await raw(world(), `${head}Content-Length: 99999999999\r\n\r\n{`)).toContain(" 413 ");
    const chunk = `${(1 << 20).toString(16)}\r\n${"x".repeat(1 << 20)}\r\n`;
    expect(await raw(world(), `${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(5)}`)).toContain(
      " 413 ",
    );
  });

  test("a body of another type than JSON is refused; half a request is nobody's trouble", async () => {
    const response = await fetch("http://docker/v1.41/containers/create", {
      method: "POST",
      unix: world().engine.suite.paths.dockerSocket,
      headers: { "content-type": "text/plain" },
      body: "{}",
    });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain("must be 'application/json'");
    const half = net.connect(world().engine.suite.paths.dockerSocket);
    half.write("POST /v1.41/containers/create HTTP/1.1\r\nHost: docker\r\nContent-Length: 100\r\n\r\n{");
    expect((await api(world(), "GET", "/_ping")).body).toBe("OK");
    half.destroy();
    expect((await api(world(), "GET", "/v1.41/containers/json")).status).toBe(200);
  });
});

describe.skipIf(!hasReference("bad requests beside the real dockerd"))(
  "the real dockerd does the same",
  () => {
    refusalsOf(reference, true);
  },
);
