import { tarBlocks } from "@longshore/archive/testing";
import { eventually } from "@longshore/testkit";
import type { CheckedEngine } from "./checked-engine.ts";
import { pathStat } from "./containers.ts";
import { isOlder, problemsOf, type Versions } from "./shape.ts";

/** What the engine that is asked has beside it. */
export interface Scene extends Versions {
  /** An image that it has, by a name that its registry has too. */
  image: string;
  registry: string;
  /** Address range of a network that nobody uses, its host part zero: `10.1.2.0`. */
  subnet: string;
  /** `host:port` of a registry's index that finds something for any word. */
  index: string;
  /** Whether it has a builder; what it breaks off has ended without an answer. */
  builds: boolean | "breaks off";
  /** Whether images lie in a store of dockerd's own, as before containerd had them. */
  ownStore: boolean;
}

/** Operations that clients of before some version don't have. */
const SINCE: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ["containers", "images", "networks", "volumes"].map((kind) => [`POST /${kind}/prune`, "1.25"]),
  ),
  "GET /secrets": "1.25",
  "GET /configs": "1.30",
  "GET /distribution/{name}/json": "1.30",
  "POST /build/prune": "1.31",
  "GET /images/{name}/attestations": "1.55",
};

/** Those that a client of this version lacks. */
export function newerThan(request: string): string[] {
  return Object.keys(SINCE).filter((operation) => isOlder(request, SINCE[operation] ?? ""));
}

/** Every operation of the schema at least once, with what can be left out and without, and their usual refusals. */
export async function callEverything(engine: CheckedEngine, scene: Scene): Promise<void> {
  const begun = Math.floor(Date.now() / 1000);
  await system(engine, scene);
  await images(engine, scene);
  await networksAndVolumes(engine, scene);
  await containers(engine, scene);
  await execs(engine, scene);
  await engine.call("GET /events", { query: { since: String(begun), until: String(Date.now() / 1000) } });
  const newer = newerThan(scene.request);
  for (const kind of ["containers", "images", "networks", "volumes", "build"])
    if (!newer.includes(`POST /${kind}/prune`)) await engine.call(`POST /${kind}/prune`);
}

async function system(engine: CheckedEngine, { registry, request }: Scene): Promise<void> {
  await engine.call("GET /_ping");
  await engine.call("HEAD /_ping");
  await engine.call("GET /version");
  await engine.call("GET /info");
  await engine.call("POST /auth", { body: { username: "u", password: "p", serveraddress: registry } });
  await engine.call("GET /plugins");
  const newer = newerThan(request);
  for (const kind of ["swarm", "nodes", "services", "tasks", "secrets", "configs"])
    if (!newer.includes(`GET /${kind}`)) await engine.call(`GET /${kind}`, { status: 503 });
  await engine.call("POST /swarm/leave", { status: 503 });
}

async function images(engine: CheckedEngine, scene: Scene): Promise<void> {
  const { image, registry, index } = scene;
  const [repository = "", tag = ""] = image.split(/:(?=[^:/]+$)/);
  await engine.call("POST /images/create", { query: { fromImage: repository, tag } });
  await engine.call("POST /images/create", {
    query: { fromImage: `${registry}/base/no-such`, tag: "1" },
    status: 404,
  });
  await engine.call("GET /images/json");
  await engine.call("GET /images/json", { query: { all: "1", filters: '{"dangling":["false"]}' } });
  await engine.call("GET /images/json", { query: { filters: '{"nonsense":["x"]}' }, status: 400 });
  await engine.call("GET /images/{name}/json", { name: image });
  await engine.call("GET /images/{name}/json", { name: "no-such", status: 404 });
  for (const query of [{ manifests: "1" }, { manifests: "1", identity: "1" }])
    await engine.call("GET /images/json", { query });
  await engine.call("GET /images/{name}/json", { name: image, query: { manifests: "1" } });
  await engine.call("GET /images/{name}/history", { name: image });
  const attestations = "GET /images/{name}/attestations";
  if (!newerThan(scene.request).includes(attestations)) {
    const query = { statement: "1" };
    await engine.call(attestations, { name: image, query, status: scene.ownStore ? 501 : 200 });
    await engine.call(attestations, { name: "no-such", status: scene.ownStore ? 501 : 404 });
  }
  const distribution = "GET /distribution/{name}/json";
  if (!newerThan(scene.request).includes(distribution)) await engine.call(distribution, { name: image });
  await engine.call("GET /images/search", { query: { term: `${index}/any` } });

  const mine = `${registry}/schema/mine`;
  await engine.call("POST /images/{name}/tag", {
    name: image,
    query: { repo: mine, tag: "2" },
    status: 201,
  });
  const headers = { "x-registry-auth": Buffer.from("{}").toString("base64url") };
  await engine.call("POST /images/{name}/push", { name: mine, query: { tag: "2" }, headers });
  const saved = await engine.call("GET /images/{name}/get", { name: `${mine}:2` });
  await engine.call("GET /images/get", { query: { names: `${mine}:2` } });
  await engine.call("DELETE /images/{name}", { name: `${mine}:2` });
  await engine.call("DELETE /images/{name}", { name: `${mine}:2`, status: 404 });
  await build(engine, scene);
  await engine.call("POST /images/load", { body: new Uint8Array(saved.bytes), query: { quiet: "1" } });
  await engine.call("DELETE /images/{name}", { name: `${mine}:2` });
}

async function build(engine: CheckedEngine, { image, builds, engine: newest }: Scene): Promise<void> {
  const context = tarBlocks({ name: "Dockerfile", content: `FROM ${image}\nLABEL a=b\n` });
  const body = new Uint8Array(Buffer.concat([context, Buffer.alloc(1024)]));
  const request = { query: { t: "schema/built" }, body, status: builds ? 200 : 501 };
  const built = engine.call("POST /build", request);
  if (builds === "breaks off") await built.catch(() => engine.called.add("POST /build"));
  else await built;
  if (builds === true) await engine.call("DELETE /images/{name}", { name: "schema/built" });
  await engine.call("POST /build/cancel", { query: { id: "no-such" } });
  await engine.call("POST /build/cancel", { status: isOlder(newest, "1.45") ? 500 : 400 });
  await engine.call("POST /session", { status: 400 });
  await engine.call("POST /grpc", { status: 500 });
}

async function networksAndVolumes(engine: CheckedEngine, { subnet }: Scene): Promise<void> {
  const made = await engine.call("POST /networks/create", {
    body: {
      Name: "schema-net",
      CheckDuplicate: true,
      Labels: { a: "b" },
      IPAM: { Driver: "default", Config: [{ Subnet: `${subnet}/24`, IPRange: `${subnet}/25` }] },
    },
    status: 201,
  });
  const { Id } = made.json as { Id: string };
  await engine.call("POST /networks/create", {
    body: { Name: "schema-net", CheckDuplicate: true },
    status: 409,
  });
  await engine.call("GET /networks");
  await engine.call("GET /networks/{id}", { name: Id });
  await engine.call("GET /networks/{id}", { name: "no-such", status: 404 });
  await engine.call("DELETE /networks/{id}", { name: "host", status: 403 });

  await engine.call("POST /volumes/create", {
    body: { Name: "schema-vol", Labels: { a: "b" } },
    status: 201,
  });
  await engine.call("POST /volumes/create", { body: {}, status: 201 });
  await engine.call("POST /volumes/create", {
    body: { Name: "schema-tmpfs", DriverOpts: { type: "tmpfs", device: "tmpfs" } },
    status: 201,
  });
  await engine.call("GET /volumes");
  await engine.call("GET /volumes/{name}", { name: "schema-vol" });
  await engine.call("GET /volumes/{name}", { name: "no-such", status: 404 });
  await engine.call("DELETE /volumes/{name}", { name: "schema-tmpfs", status: 204 });
  await engine.call("DELETE /volumes/{name}", { name: "schema-tmpfs", status: 404 });
}

const TRAP = "trap 'exit 3' TERM; echo out; echo err >&2; touch /made; while :; do usleep 20000; done";

/** A container with much in it that can be left out. */
function fullRequest({ image }: Scene): object {
  return {
    Image: image,
    Hostname: "full",
    User: "0",
    Env: ["A=1"],
    Cmd: ["sh", "-c", TRAP],
    ExposedPorts: { "80/tcp": {}, "81/udp": {} },
    Volumes: { "/anonymous": {} },
    Labels: { "of.the.user": "x" },
    WorkingDir: "/",
    StopSignal: "SIGTERM",
    StopTimeout: 9,
    Healthcheck: {
      Test: ["CMD", "true"],
      Interval: 1_000_000_000,
      Timeout: 5_000_000_000,
      Retries: 2,
      StartPeriod: 1_000_000_000,
    },
    HostConfig: {
      Binds: ["schema-vol:/named:rw", "/etc/hostname:/bound:ro"],
      Mounts: [{ Type: "tmpfs", Target: "/tm", TmpfsOptions: { SizeBytes: 65_536, Mode: 0o1777 } }],
      Tmpfs: { "/other": "size=64k" },
      PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] },
      NetworkMode: "schema-net",
      RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 },
      Memory: 64 << 20,
      CpuShares: 512,
      PidsLimit: 100,
      CapAdd: ["NET_ADMIN"],
      CapDrop: ["MKNOD"],
      Dns: ["192.0.2.53"],
      ExtraHosts: ["other:192.0.2.1"],
      GroupAdd: ["7"],
      Ulimits: [{ Name: "nofile", Soft: 512, Hard: 1024 }],
      Devices: [{ PathOnHost: "/dev/null", PathInContainer: "/dev/nothing", CgroupPermissions: "rwm" }],
      Sysctls: { "net.ipv4.ip_unprivileged_port_start": "1" },
      SecurityOpt: ["no-new-privileges"],
      LogConfig: { Type: "json-file", Config: { "max-size": "1m" } },
      ShmSize: 1 << 20,
      Init: false,
      Annotations: { "of.the.runtime": "y" },
    },
    NetworkingConfig: { EndpointsConfig: { "schema-net": { Aliases: ["alias"] } } },
  };
}

async function containers(engine: CheckedEngine, scene: Scene): Promise<void> {
  const { image } = scene;
  await engine.call("POST /containers/create", { body: { Image: "no-such" }, status: 404 });
  const create = async (name: string, body: object) => {
    const made = await engine.call("POST /containers/create", { query: { name }, body, status: 201 });
    return (made.json as { Id: string }).Id;
  };
  const full = await create("full", fullRequest(scene));
  await engine.call("POST /containers/create", {
    query: { name: "full" },
    body: { Image: image },
    status: 409,
  });
  const of = (name: string, status?: number, query?: Record<string, string>) => ({
    name,
    ...(status !== undefined && { status }),
    ...(query && { query }),
  });

  const minimal = await create("minimal", { Image: image, Cmd: ["true"] });
  await inspectBoth(engine, full);
  await inspectBoth(engine, minimal);
  await engine.call("GET /containers/{id}/json", of("no-such", 404));
  await engine.call("GET /containers/{id}/top", of(minimal, 409));

  await engine.call("POST /containers/{id}/start", of(full, 204));
  await engine.call("POST /containers/{id}/start", of(full, 304));
  await engine.call("POST /containers/{id}/start", of("no-such", 404));
  await engine.call("POST /containers/{id}/start", of(minimal, 204));
  await engine.call("POST /containers/{id}/wait", of(minimal));
  await inspectBoth(engine, full);
  await inspectBoth(engine, minimal);
  await engine.call("GET /containers/json", { query: { filters: '{"nonsense":["x"]}' }, status: 400 });
  await engine.call("GET /containers/{id}/top", of(full));
  await engine.call("GET /containers/{id}/top", of(full, 200, { ps_args: "aux" }));
  await engine.call(
    "GET /containers/{id}/logs",
    of(full, 200, { stdout: "1", stderr: "1", timestamps: "1" }),
  );
  await engine.call("GET /containers/{id}/logs", of(full, 400));
  await engine.call("GET /containers/{id}/changes", of(full));
  await engine.call("GET /containers/{id}/changes", of(minimal));
  await engine.call("GET /containers/{id}/export", of(minimal));
  await engine.call("GET /containers/{id}/stats", of(full, 200, { stream: "0" }));
  await engine.call("GET /containers/{id}/stats", of(minimal, 200, { stream: "0" }));
  await engine.call("POST /containers/{id}/attach", of(full, 200, { logs: "1", stdout: "1" }));
  await engine.call("POST /containers/{id}/attach", of("no-such", 404));
  await attachByWebsocket(engine, full);
  await archives(engine, full);

  await engine.call("POST /containers/{id}/pause", of(full, 204));
  await engine.call("POST /containers/{id}/pause", of(full, 409));
  await inspectBoth(engine, full);
  await engine.call("POST /containers/{id}/unpause", of(full, 204));
  await engine.call("POST /containers/{id}/update", { name: full, body: { CpuShares: 256 } });
  await engine.call("POST /containers/{id}/rename", of(full, 204, { name: "fuller" }));
  await engine.call("POST /containers/{id}/rename", of(full, 409, { name: "minimal" }));
  await engine.call("DELETE /containers/{id}", of(full, 409));
  await engine.call("DELETE /volumes/{name}", { name: "schema-vol", status: 409 });

  await engine.call("POST /networks/{id}/connect", { name: "bridge", body: { Container: full } });
  await inspectBoth(engine, full);
  await engine.call("GET /networks/{id}", { name: "schema-net" });
  await engine.call("DELETE /networks/{id}", { name: "schema-net", status: 403 });
  await engine.call("POST /networks/{id}/disconnect", { name: "bridge", body: { Container: full } });

  await engine.call("POST /commit", {
    query: { container: full, repo: "schema/committed", author: "a", comment: "c" },
    body: {},
    status: 201,
  });
  await engine.call("GET /images/{name}/json", { name: "schema/committed" });
  await engine.call("GET /images/{name}/history", { name: "schema/committed" });
  await engine.call("GET /images/json");
  await diskUsage(engine, scene);
  await engine.call("DELETE /images/{name}", { name: "schema/committed" });

  await engine.call("POST /containers/{id}/restart", of(full, 204, { t: "5" }));
  await engine.call("POST /containers/{id}/stop", of(full, 204));
  await engine.call("POST /containers/{id}/stop", of(full, 304));
  await engine.call("POST /containers/{id}/kill", of(full, 409));
  await engine.call("POST /containers/{id}/kill", of("no-such", 404));
  await inspectBoth(engine, full);
  await engine.call("DELETE /containers/{id}", of(full, 204, { v: "1" }));
  await engine.call("DELETE /containers/{id}", of(full, 404));
  await engine.call("DELETE /networks/{id}", { name: "schema-net", status: 204 });
}

async function diskUsage(engine: CheckedEngine, { request }: Scene): Promise<void> {
  const operation = "GET /system/df";
  await engine.call(operation);
  await engine.call(operation, { query: { verbose: "1" } });
  for (const type of ["container", "image", "volume", "build-cache"])
    await engine.call(operation, { query: { type } });
  await engine.call(operation, { query: { type: "nonsense" }, status: isOlder(request, "1.42") ? 200 : 400 });
}

/** A container as all operations that show it do. */
async function inspectBoth(engine: CheckedEngine, name: string): Promise<void> {
  await engine.call("GET /containers/{id}/json", { name });
  await engine.call("GET /containers/{id}/json", { name, query: { size: "1" } });
  const filters = JSON.stringify({ id: [name] });
  await engine.call("GET /containers/json", { query: { all: "1", filters } });
  await engine.call("GET /containers/json", { query: { all: "1", size: "1", filters } });
}

async function attachByWebsocket(engine: CheckedEngine, name: string): Promise<void> {
  const query = { logs: "1", stdout: "1", stderr: "1" };
  const operation = "GET /containers/{id}/attach/ws";
  const logged = async () =>
    (await engine.call("GET /containers/{id}/logs", { name, query })).bytes.length > 0;
  await eventually(logged, { timeoutMs: 20_000 });
  const { bytes } = await engine.call(operation, { name, query, status: 101 });
  if (!/^(out|err)\n/.test(bytes.toString())) engine.problems.push(`${operation}: tells ${bytes}`);
  await engine.call(operation, { name: "no-such", query, status: 404 });
  await engine.call(operation, { name, query, plain: true, status: 400 });
}

async function archives(engine: CheckedEngine, name: string): Promise<void> {
  const query = { path: "/made" };
  const head = await engine.call("HEAD /containers/{id}/archive", { name, query });
  const stat: unknown = JSON.parse(
    Buffer.from(head.headers.get("x-docker-container-path-stat") ?? "", "base64").toString(),
  );
  engine.problems.push(
    ...problemsOf(stat, pathStat, { request: "", engine: "" }).map((problem) => `a path's stat: ${problem}`),
  );
  const { bytes } = await engine.call("GET /containers/{id}/archive", { name, query });
  await engine.call("GET /containers/{id}/archive", { name, query: { path: "/no-such" }, status: 404 });
  await engine.call("PUT /containers/{id}/archive", {
    name,
    query: { path: "/home" },
    body: new Uint8Array(bytes),
  });
}

async function execs(engine: CheckedEngine, { image, request }: Scene): Promise<void> {
  const body = { Image: image, Tty: true, OpenStdin: true, Cmd: ["sh"] };
  const made = await engine.call("POST /containers/create", { body, status: 201 });
  const { Id: name } = made.json as { Id: string };
  await engine.call("POST /containers/{id}/exec", { name, body: { Cmd: ["true"] }, status: 409 });
  await engine.call("POST /containers/{id}/start", { name, status: 204 });
  await engine.call("POST /containers/{id}/resize", { name, query: { h: "40", w: "90" } });
  const exec = async (config: object) => {
    const answer = await engine.call("POST /containers/{id}/exec", { name, body: config, status: 201 });
    return (answer.json as { Id: string }).Id;
  };
  const first = await exec({ Cmd: ["echo", "hi"], AttachStdout: true, AttachStderr: true, User: "0" });
  await engine.call("GET /exec/{id}/json", { name: first });
  await engine.call("POST /exec/{id}/start", { name: first, body: { Detach: false } });
  await engine.call("GET /exec/{id}/json", { name: first });
  const second = await exec({ Cmd: ["sleep", "1000"], Tty: true });
  const detached = { name: second, body: { Detach: true, Tty: true } };
  // Its answer has no body, so it is no stream either.
  await engine.call("POST /exec/{id}/start", detached);
  await engine.call("POST /exec/{id}/resize", { name: second, query: { h: "40", w: "90" } });
  await engine.call("GET /exec/{id}/json", { name: second });
  await engine.call("GET /containers/{id}/json", { name });
  await engine.call("GET /exec/{id}/json", { name: "no-such", status: 404 });
  const query = { stream: "0", ...(!isOlder(request, "1.41") && { "one-shot": "1" }) };
  await engine.call("GET /containers/{id}/stats", { name, query });
  await engine.call("DELETE /containers/{id}", { name, query: { force: "1" }, status: 204 });
}
