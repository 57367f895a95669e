import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import {
  type Certificates,
  eventually,
  freePort,
  makeCertificates,
  run,
  type TempDir,
  tempDir,
} from "@longshore/testkit";
import { demultiplex, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(90_000);
const SOCKETS = "/run/docker/plugins";
const PLUGIN = `longshore-test-${process.pid}`;

interface Asked {
  about: string;
  User?: string;
  UserAuthNMethod?: string;
  RequestMethod: string;
  RequestUri: string;
  RequestBody?: string;
  RequestHeaders: Record<string, string>;
  RequestPeerCertificates?: string[];
  ResponseStatusCode?: number;
  ResponseBody?: string;
}

let dir: TempDir;
let certificates: Certificates;
let port: number;
let world: TestEngine;
let asked: Asked[] = [];
let decide: (subject: Asked) => object = () => ({ Allow: true });
let madeSockets = false;
let plugin: ReturnType<typeof Bun.serve>;

function servePlugin() {
  return Bun.serve({
    unix: path.join(SOCKETS, `${PLUGIN}.sock`),
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/Plugin.Activate") return Response.json({ Implements: ["authz"] });
      const subject = {
        about: pathname.slice("/AuthZPlugin.".length),
        ...((await request.json()) as object),
      } as Asked;
      asked.push(subject);
      return Response.json(decide(subject));
    },
  });
}

beforeAll(async () => {
  dir = tempDir();
  certificates = makeCertificates(dir.path);
  port = await freePort();
  madeSockets = fs.mkdirSync(SOCKETS, { recursive: true }) !== undefined;
  plugin = servePlugin();
  const { ca, server } = certificates;
  world = await openEngine({
    components: {
      dockerd: {
        extraArgs: [
          ...["--authorization-plugin", PLUGIN, "-H", `tcp://127.0.0.1:${port}`],
          ...["--tlsverify", "--tlscacert", ca, "--tlscert", server.cert, "--tlskey", server.key],
        ],
      },
    },
  });
});
afterAll(async () => {
  decide = () => ({ Allow: true });
  await world?.[Symbol.asyncDispose]();
  await plugin?.stop(true);
  fs.rmSync(path.join(SOCKETS, `${PLUGIN}.sock`), { force: true });
  if (madeSockets) fs.rmdirSync(SOCKETS);
  dir?.[Symbol.dispose]();
});

const decode = (text: string | undefined) => Buffer.from(text ?? "", "base64").toString();

test("a plugin is shown each request with its JSON body, and each answer; no credentials", async () => {
  const { api, image } = world;
  asked = [];
  const id = await api.create(image, ["true"], {}, "seen");
  expect(asked.map(({ about }) => about)).toEqual(["AuthZReq", "AuthZRes"]);
  const [request, answer] = asked;
  expect(request).toMatchObject({ RequestMethod: "POST", RequestUri: "/containers/create?name=seen" });
  expect(JSON.parse(decode(request?.RequestBody))).toMatchObject({ Image: image, Cmd: ["true"] });
  expect(request?.RequestHeaders["Content-Type"]).toBe("application/json");
  expect(answer?.ResponseStatusCode).toBe(201);
  expect(JSON.parse(decode(answer?.ResponseBody)).Id).toBe(id);

  asked = [];
  const chunked = ["-H", "Transfer-Encoding: chunked", "-H", "Content-Type: application/json"];
  const body = ["-d", JSON.stringify({ Image: image, Cmd: ["false"] }), "-H", "X-Registry-Auth: c2VjcmV0"];
  const url = "http://docker/v1.41/containers/create?name=chunked";
  const made = await run(["curl", "-s", "--unix-socket", api.socketPath, ...chunked, ...body, url]);
  expect(JSON.parse(made.stdout).Id).toHaveLength(64);
  expect(asked[0]?.RequestUri).toBe("/v1.41/containers/create?name=chunked");
  expect(JSON.parse(decode(asked[0]?.RequestBody))).toMatchObject({ Cmd: ["false"] });
  expect(Object.keys(asked[0]?.RequestHeaders ?? {})).not.toContain("X-Registry-Auth");
  for (const name of ["seen", "chunked"]) await api.call("DELETE", `/containers/${name}`);

  const usage = await api.call("GET", "/system/df?type=image&type=volume");
  expect(usage.status).toBe(200); // a list: all values count for every reader

  asked = [];
  const long = await api.call("POST", "/containers/create", { Image: image, Cmd: ["x".repeat(5 << 20)] });
  expect([long.status, asked]).toEqual([413, []]);
});

/** Send a request with its target as it is; fetch() and curl drop a fragment. @returns the answer's head and body */
async function sendRaw(target: string, body: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = net.connect(world.api.socketPath);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.on("error", reject);
  socket.on("close", () => resolve(Buffer.concat(chunks).toString()));
  const head = [
    "Host: docker",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.write(`POST ${target} HTTP/1.1\r\n${head.join("\r\n")}\r\nConnection: close\r\n\r\n${body}`);
  return promise;
}

test("a request that a plugin and the engine could read differently is refused, and the plugin isn't asked", async () => {
  const { image, api } = world;
  const config = { Image: image, Cmd: ["true"], HostConfig: { Privileged: true } };
  const attempts: [string, string][] = [
    ["/v1.41/containers/create?name=hidden#/auth", JSON.stringify(config)],
    ["/v1.41/containers/create#/auth", JSON.stringify(config)],
    ["/v1.41/containers/%63reate?name=hidden", JSON.stringify(config)],
    ["/v1.41/auth/../containers/create?name=hidden", JSON.stringify(config)],
    ["//v1.41/containers/create?name=hidden", JSON.stringify(config)],
    ["/v1.41/containers/create?name=hidden&name=shown", JSON.stringify(config)],
    ["/v1.41/containers/create?name=hidden&%6eame=shown", JSON.stringify(config)],
    ["/v1.41/containers/create?name=hidden&platform=&platform=linux/amd64", JSON.stringify(config)],
    ["/v1.41/containers/create?name=hidden;name=shown", JSON.stringify(config)],
    [
      "/v1.41/containers/create?name=hidden",
      `{"Image":${JSON.stringify(image)},"HostConfig":{"Privileged":true},"HostConfig":{}}`,
    ],
    [
      "/v1.41/containers/create?name=hidden",
      `{"Image":${JSON.stringify(image)},"HostConfig":{},"hostconfig":{"Privileged":true}}`,
    ],
  ];
  for (const [target, body] of attempts) {
    asked = [];
    const answer = await sendRaw(target, body);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    // A body is read before the plugin is asked, or the plugin has seen all of it.
    for (const { RequestBody } of asked) expect(decode(RequestBody)).toBe(body);
    expect((await api.call("GET", "/containers/hidden/json")).status).toBe(404);
  }
});

test("what a plugin denies is not done, and said in Docker's words; an answer that it denies is not given", async () => {
  const { api, image } = world;
  decide = ({ about, RequestUri }) =>
    about === "AuthZReq" && RequestUri.includes("/create")
      ? { Allow: false, Msg: "not today" }
      : { Allow: true };
  const denied = await api.call("POST", "/containers/create?name=denied", { Image: image, Cmd: ["true"] });
  expect([denied.status, denied.json]).toEqual([
    403,
    { message: `authorization denied by plugin ${PLUGIN}: not today` },
  ]);
  expect((await api.call("GET", "/containers/denied/json")).status).toBe(404);

  decide = ({ about }) => ({ Allow: about === "AuthZReq", Msg: "secret" });
  const hidden = await api.call("GET", "/info");
  expect([hidden.status, hidden.json]).toEqual([
    403,
    { message: `authorization denied by plugin ${PLUGIN}: secret` },
  ]);
  const events = await api.call("GET", "/events?since=0");
  expect([events.status, events.json]).toEqual([
    403,
    { message: `authorization denied by plugin ${PLUGIN}: secret` },
  ]);

  decide = () => ({ Allow: true, Err: "out of order" });
  const failed = await api.call("GET", "/_ping");
  expect([failed.status, failed.json.message]).toEqual([
    500,
    `plugin ${PLUGIN} failed with error: out of order`,
  ]);
  decide = () => ({ Allow: true });
});

test("hijacked connections: the request's body is shown, the stream flows once it may, denied ones are refused", async () => {
  const { api, image } = world;
  const id = await api.run(image, ["sleep", "1000"]);
  const exec = async () => {
    const body = { Cmd: ["md5sum"], AttachStdin: true, AttachStdout: true, AttachStderr: true };
    return (await api.call("POST", `/containers/${id}/exec`, body)).json.Id;
  };
  const input = Buffer.alloc(2_000_000, "0123456789\n");
  asked = [];
  const stream = await api.hijack(`/exec/${await exec()}/start`, { Detach: false, Tty: false });
  expect(stream.head).toStartWith("HTTP/1.1 101 UPGRADED");
  stream.socket.end(input);
  const { stdout } = demultiplex(await stream.ended);
  expect(stdout).toStartWith(new Bun.CryptoHasher("md5").update(input).digest("hex"));
  const started = asked.filter(({ RequestUri }) => RequestUri.endsWith("/start"));
  expect(started.map(({ about }) => about)).toEqual(["AuthZReq", "AuthZRes"]);
  expect(JSON.parse(decode(started[0]?.RequestBody))).toEqual({ Detach: false, Tty: false });
  expect(started[1]?.ResponseStatusCode).toBe(101);

  const refused = await exec();
  decide = ({ RequestUri }) => ({ Allow: !RequestUri.endsWith("/start"), Msg: "no shells" });
  const denied = await api.hijack(`/exec/${refused}/start`, { Detach: false, Tty: false });
  expect(denied.head).toStartWith("HTTP/1.1 403 ");
  expect((await denied.ended).toString()).toContain(`authorization denied by plugin ${PLUGIN}: no shells`);
  decide = () => ({ Allow: true });
  expect((await api.call("GET", `/exec/${refused}/json`)).json.Running).toBe(false);
  await api.call("DELETE", `/containers/${id}?force=1`);
});

test("over TLS a plugin is told whose certificate a client has; a restarted plugin is found again", async () => {
  const { ca, client } = certificates;
  const curl = ["curl", "-s", "--max-time", "20", "--cacert", ca, "--cert", client.cert, "--key", client.key];
  const ping = () => run([...curl, `https://127.0.0.1:${port}/_ping`]);
  asked = [];
  expect((await ping()).stdout).toBe("OK");
  expect(asked[0]).toMatchObject({ User: "client", UserAuthNMethod: "TLS" });
  const [own] = asked[0]?.RequestPeerCertificates ?? [];
  const pem = (text: string) => text.replaceAll(/\s/g, "");
  expect(pem(fs.readFileSync(client.cert, "utf8"))).toContain(pem(decode(own)));

  await plugin.stop(true);
  fs.rmSync(path.join(SOCKETS, `${PLUGIN}.sock`), { force: true });
  const away = await world.api.call("GET", "/_ping");
  expect([away.status, away.json.message]).toMatchObject([
    500,
    expect.stringContaining(`plugin ${PLUGIN} failed with error: `),
  ]);
  plugin = servePlugin();
  await eventually(async () => (await world.api.call("GET", "/_ping")).status === 200);
  expect((await world.api.call("GET", "/info")).json.Plugins.Authorization).toEqual([PLUGIN]);
});
