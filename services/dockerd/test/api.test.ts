import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { ImagesDefinition } from "@longshore/api/containerd/services/images/v1/images";
import { channelTo, createClient } from "@longshore/rpc";
import { eventually } from "@longshore/testkit";
import { demultiplex, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

test("versions: negotiated by ping, served with and without a prefix, refused out of range", async () => {
  const { api } = world;
  const ping = await api.call("GET", "/_ping");
  expect([ping.status, ping.text]).toEqual([200, "OK"]);
  expect(ping.headers.get("api-version")).toBe("1.55");
  expect((await api.call("GET", "/v1.24/version")).json.ApiVersion).toBe("1.55");
  const tooNew = await api.call("GET", "/v1.99/version");
  expect([tooNew.status, tooNew.json.message]).toEqual([
    400,
    "client version 1.99 is too new. Maximum supported API version is 1.55",
  ]);
});

test("bad requests get Docker's status and words", async () => {
  const { api, image } = world;
  const cases: [string, string, unknown, number, RegExp][] = [
    ["GET", "/nope", undefined, 404, /^page not found$/],
    ["GET", "/containers/nosuch/json", undefined, 404, /^No such container: nosuch$/],
    ["POST", "/containers/create", "{", 400, /^invalid JSON: /],
    ["POST", "/containers/create", "[]", 400, /^invalid JSON: body/],
    ["POST", "/containers/create", { Image: 7 }, 400, /^invalid JSON: Image: /],
    ["POST", "/containers/create", { Image: "nosuch", Cmd: ["x"] }, 404, /^No such image: nosuch:latest$/],
    [
      "POST",
      "/containers/create?name=-x",
      { Image: image, Cmd: ["x"] },
      400,
      /^Invalid container name \(-x\)/,
    ],
    [
      "POST",
      "/containers/create",
      { Image: image, HostConfig: { CpuCount: 2 } },
      400,
      /HostConfig.CpuCount is not supported/,
    ],
    [
      "POST",
      "/containers/create",
      { Image: image, HostConfig: { IOMaximumIOps: 2 } },
      400,
      /^invalid option: QoS maximum IOPs configuration is not supported on linux$/,
    ],
    ["GET", '/containers/json?filters={"nope":["x"]}', undefined, 400, /^invalid filter 'nope'$/],
    ["POST", "/containers/nosuch/exec", { Cmd: ["x"] }, 404, /^No such container: nosuch$/],
    ["GET", "/exec/nosuch/json", undefined, 404, /^No such exec instance: nosuch$/],
    ["GET", "/images/nosuch/json", undefined, 404, /^No such image: nosuch:latest$/],
    ["GET", "/volumes/nosuch", undefined, 404, /^get nosuch: no such volume$/],
    ["POST", "/volumes/create", { Name: 7 }, 400, /^invalid JSON: Name: /],
    ["POST", "/volumes/create", { ClusterVolumeSpec: {} }, 503, /not a swarm manager/],
    [
      "POST",
      "/containers/create",
      { Image: image, Cmd: ["x"], Volumes: { rel: {} } },
      400,
      /invalid mount path: 'rel' mount path must be absolute/,
    ],
  ];
  for (const [method, target, body, status, message] of cases) {
    const answer = await api.call(method, target, body);
    expect([target, answer.status]).toEqual([target, status]);
    expect(answer.json.message).toMatch(message);
  }
});

test("attach, wait, start: output in frames, the exit status, and removal", async () => {
  const { api, image } = world;
  const id = await api.create(image, ["sh", "-c", "echo out; echo err >&2; exit 7"], {
    HostConfig: { NetworkMode: "none", AutoRemove: true },
  });
  const attached = await api.hijack(`/containers/${id}/attach?stream=1&stdout=1&stderr=1`);
  expect(attached.head).toStartWith("HTTP/1.1 101 UPGRADED");
  expect(attached.head).toContain("application/vnd.docker.multiplexed-stream");
  const wait = api.call("POST", `/containers/${id}/wait?condition=removed`);
  expect((await api.call("POST", `/containers/${id}/start`)).status).toBe(204);
  expect((await wait).json).toEqual({ StatusCode: 7 });
  expect(demultiplex(await attached.ended)).toEqual({ stdout: "out\n", stderr: "err\n" });
  expect((await api.call("GET", `/containers/${id}/json`)).status).toBe(404);
});

test("stdin: what the client sends comes in whole, and its half-close is the end of the input", async () => {
  const { api, image } = world;
  const id = await api.create(image, ["md5sum"], {
    OpenStdin: true,
    StdinOnce: true,
    HostConfig: { NetworkMode: "none", AutoRemove: true },
  });
  const attached = await api.hijack(`/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`);
  await api.call("POST", `/containers/${id}/start`);
  const input = Buffer.alloc(3_000_000, "0123456789\n");
  attached.socket.end(input);
  const { stdout } = demultiplex(await attached.ended);
  expect(stdout).toStartWith(new Bun.CryptoHasher("md5").update(input).digest("hex"));
});

test("exec: the exit status is known when the stream ends, also of what can't be run", async () => {
  const { api, image } = world;
  const id = await api.run(image, ["sleep", "1000"]);
  const run = async (cmd: string[]) => {
    const body = { Cmd: cmd, AttachStdout: true, AttachStderr: true };
    const exec = (await api.call("POST", `/containers/${id}/exec`, body)).json.Id;
    const stream = await api.hijack(`/exec/${exec}/start`, { Detach: false, Tty: false });
    const output = demultiplex(await stream.ended);
    return { ...output, exitCode: (await api.call("GET", `/exec/${exec}/json`)).json.ExitCode };
  };
  for (let i = 0; i < 5; i++) {
    expect(await run(["sh", "-c", "echo hi; exit 9"])).toEqual({ stdout: "hi\n", stderr: "", exitCode: 9 });
  }
  const keys = { Cmd: ["true"], DetachKeys: "ctrl-p,q" };
  const made = await api.call("POST", `/containers/${id}/exec`, keys);
  const shown = (await api.call("GET", `/exec/${made.json.Id}/json`)).json;
  expect([shown.DetachKeys, shown.Running]).toEqual([Buffer.from([16, 113]).toString("base64"), false]);
  const bad = await api.call("POST", `/containers/${id}/exec`, { Cmd: ["true"], DetachKeys: "ctrl-0" });
  expect([bad.status, bad.json.message]).toEqual([500, "Invalid escape keys (ctrl-0) provided"]);
  const missing = await run(["nope"]);
  expect(missing.exitCode).toBe(127);
  expect(missing.stdout).toContain('exec: "nope": executable file not found in $PATH');
  await api.call("DELETE", `/containers/${id}?force=1`);
});

test("exec: frames by who starts it, a console's size by the version, and none while the container is paused", async () => {
  const { api, image } = world;
  const id = await api.run(image, ["sleep", "1000"]);
  const make = async (body: object, version = "1.44") =>
    (await api.call("POST", `/v${version}/containers/${id}/exec`, { AttachStdout: true, ...body })).json.Id;
  const output = async (exec: string, body: object, version = "1.44") =>
    (await api.hijack(`/v${version}/exec/${exec}/start`, body)).ended;
  const echo = { Tty: true, Cmd: ["echo", "hi"] };
  expect(demultiplex(await output(await make(echo), { Tty: false })).stdout).toBe("hi\r\n");
  expect((await output(await make(echo), { Tty: true })).toString()).toBe("hi\r\n");
  const stty = { Tty: true, Cmd: ["stty", "size"] };
  const sizes = [
    await output(await make({ ...stty, ConsoleSize: [40, 90] }), { Tty: true }),
    await output(await make({ ...stty, ConsoleSize: [40, 90] }, "1.41"), { Tty: true }, "1.41"),
    await output(await make(stty), { Tty: true, ConsoleSize: [30, 80] }),
    await output(await make(stty), { Tty: true, ConsoleSize: [30, 80] }, "1.41"),
  ];
  // Of a terminal without a size, stty complains.
  const shown = sizes.map((size) => /^(\d+ \d+)\r\n$/.exec(size.toString())?.[1] ?? "none");
  expect(shown).toEqual(["40 90", "none", "30 80", "none"]);
  expect((await api.call("GET", `/containers/${id}/json`)).json.ExecIDs).toBeNull();
  for (const [User, words] of [
    ["nobody-here", "unable to find user nobody-here: no matching entries in passwd file"],
    ["0:nobody-here", "unable to find group nobody-here: no matching entries in group file"],
    ["99999999999", "uids and gids must be in range 0-2147483647"],
  ]) {
    const stranger = await api.call("POST", `/containers/${id}/exec`, { Cmd: ["true"], User });
    expect([stranger.status, stranger.json.message]).toEqual([400, words]);
  }
  // What the runtime has no word for is 128, what doesn't come to it 126.
  const nowhere = await make({ Cmd: ["true"], WorkingDir: "not/absolute" });
  expect(demultiplex(await output(nowhere, {})).stdout).toContain("OCI runtime exec failed");
  expect((await api.call("GET", `/exec/${nowhere}/json`)).json.ExitCode).toBe(128);
  const waiting = await make({ Cmd: ["true"] });
  expect((await api.call("GET", `/containers/${id}/json`)).json.ExecIDs).toEqual([waiting]);
  await api.call("POST", `/containers/${id}/pause`);
  const refusal = `Container ${id} is paused, unpause the container before exec`;
  for (const target of [`/exec/${waiting}/start`, `/exec/${waiting}/resize?h=1&w=1`]) {
    const { status, json } = await api.call("POST", target, {});
    expect({ target, status, message: json.message }).toEqual({ target, status: 409, message: refusal });
  }
  await api.call("POST", `/containers/${id}/unpause`);
  // A container that has ended and stays is no old client's to wait for.
  await api.call("POST", `/containers/${id}/kill`);
  const old = await api.call("POST", `/v1.29/containers/${id}/wait?condition=removed`);
  expect(old.json).toEqual({ StatusCode: 137 });
  await api.call("DELETE", `/containers/${id}?force=1`);
});

test("commands that can't be run: 400 with the words that clients look for, and nothing left", async () => {
  const { api, image, engine } = world;
  for (const [cmd, words] of [
    ["nope", "executable file not found in $PATH"],
    ["/etc", "permission denied"],
  ] as const) {
    const id = await api.create(image, [cmd], { HostConfig: { NetworkMode: "none", AutoRemove: true } });
    const answer = await api.call("POST", `/containers/${id}/start`);
    expect(answer.status).toBe(400);
    expect(answer.json.message).toContain(words);
    expect((await api.call("GET", `/containers/${id}/json`)).status).toBe(404);
  }
  expect(await engine.leaks()).toEqual([]);
});

test("names: a taken one is a conflict that names its holder, rename frees the old one", async () => {
  const { api, image } = world;
  const id = await api.create(image, ["true"], {}, "first");
  const again = await api.call("POST", "/containers/create?name=first", { Image: image, Cmd: ["true"] });
  expect(again.status).toBe(409);
  expect(again.json.message).toBe(
    `Conflict. The container name "/first" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
  expect((await api.call("POST", `/containers/${id}/rename?name=second`)).status).toBe(204);
  const other = await api.create(image, ["true"], {}, "first");
  const listed = await api.call("GET", `/containers/json?all=1&filters={"name":["^/second$"]}`);
  expect(listed.json.map((one: { Id: string }) => one.Id)).toEqual([id]);
  for (const one of [id, other]) expect((await api.call("DELETE", `/containers/${one}`)).status).toBe(204);
});

test("logs: tail, since, streams, and follow to the end", async () => {
  const { api, image } = world;
  const id = await api.run(image, [
    "sh",
    "-c",
    "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; echo end >&2",
  ]);
  const followed = await fetch(`http://docker/containers/${id}/logs?follow=1&stdout=1&stderr=1`, {
    unix: api.socketPath,
  });
  expect(demultiplex(Buffer.from(await followed.arrayBuffer()))).toEqual({
    stdout: "1\n2\n3\n4\n5\n",
    stderr: "end\n",
  });
  const tail = await fetch(`http://docker/containers/${id}/logs?stdout=1&tail=2&timestamps=1`, {
    unix: api.socketPath,
  });
  const { stdout } = demultiplex(Buffer.from(await tail.arrayBuffer()));
  expect(stdout).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 5\n$/);
  expect((await api.call("GET", `/containers/${id}/logs`)).status).toBe(400);
  await api.call("DELETE", `/containers/${id}?force=1`);
});

test("stop, pause and kill answer by the container's state", async () => {
  const { api, image } = world;
  const since = Date.now() / 1000;
  const id = await api.run(image, ["sh", "-c", 'trap "exit 33" TERM; while :; do sleep 0.05; done']);
  expect((await api.call("POST", `/containers/${id}/start`)).status).toBe(304);
  expect((await api.call("POST", `/containers/${id}/pause`)).status).toBe(204);
  expect((await api.call("GET", `/containers/${id}/json`)).json.State).toMatchObject({
    Status: "paused",
    Paused: true,
  });
  expect((await api.call("POST", `/containers/${id}/unpause`)).status).toBe(204);
  expect((await api.call("DELETE", `/containers/${id}`)).status).toBe(409);
  expect((await api.call("POST", `/containers/${id}/stop?t=20`)).status).toBe(204);
  expect((await api.call("GET", `/containers/${id}/json`)).json.State).toMatchObject({
    Status: "exited",
    ExitCode: 33,
  });
  expect((await api.call("POST", `/containers/${id}/stop`)).status).toBe(304);
  expect((await api.call("POST", `/containers/${id}/kill`)).status).toBe(409);
  await api.call("POST", `/containers/${id}/start`);
  expect((await api.call("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
  // Each signal is told, whatever it was sent for.
  const query = `since=${since.toFixed(3)}&until=${(Date.now() / 1000 + 0.001).toFixed(3)}`;
  const filters = JSON.stringify({ container: [id], event: ["kill", "die", "stop"] });
  const { text } = await api.call("GET", `/events?${query}&filters=${filters}`);
  const told = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const seen = told.map(({ Action, Actor }) => [
    Action,
    Actor.Attributes.signal ?? Actor.Attributes.exitCode,
  ]);
  expect(seen).toEqual([
    ["kill", "15"],
    ["die", "33"],
    ["stop", undefined],
    ["kill", "9"],
    ["die", "137"],
  ]);
});

test("events: a stop tells of its signals, as a kill and a removal by force do", async () => {
  const { api, image } = world;
  const since = (Date.now() / 1000).toFixed(3);
  const id = await api.run(image, ["sleep", "1000"], { HostConfig: { NetworkMode: "none" } });
  const exec = await api.call("POST", `/containers/${id}/exec`, { Cmd: ["true"] });
  expect(exec.status).toBe(201);
  for (const what of ["restart?t=0", "kill?signal=HUP", "stop?t=0", "start"])
    expect((await api.call("POST", `/containers/${id}/${what}`)).status).toBe(204);
  expect((await api.call("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
  const until = (Date.now() / 1000 + 0.001).toFixed(3);
  const query = `since=${since}&until=${until}&filters={"container":["${id}"],"type":["container"]}`;
  const { text } = await api.call("GET", `/events?${query}`);
  const told = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { Action: string; Actor: { Attributes: { signal?: string } } })
    .map(({ Action, Actor }) => Action + (Actor.Attributes.signal ?? ""));
  // sleep, as the first process, hears of no signal but the last.
  const stopped = ["kill15", "kill9", "die", "stop"];
  expect(told).toEqual([
    ...["create", "start", "exec_create: true "],
    ...[...stopped, "start", "restart", "kill1", ...stopped],
    ...["start", "kill9", "die", "destroy"],
  ]);
});

test("events: what happened, by filter, as it comes", async () => {
  const { api, image } = world;
  const since = Date.now() / 1000;
  const id = await api.run(image, ["true"], {
    HostConfig: { NetworkMode: "none", AutoRemove: true },
    Labels: { t: "e" },
  });
  await eventually(async () => (await api.call("GET", `/containers/${id}/json`)).status === 404);
  const until = Date.now() / 1000 + 0.001;
  const query = `since=${since.toFixed(3)}&until=${until.toFixed(3)}&filters={"label":["t=e"],"type":["container"]}`;
  const { text } = await api.call("GET", `/events?${query}`);
  const actions = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).Action);
  expect(actions).toEqual(["create", "start", "die", "destroy"]);
  // A time that is further off than a timer can be set.
  const abort = new AbortController();
  const { body } = await fetch('http://docker/events?until=4102444800&filters={"type":["volume"]}', {
    unix: api.socketPath,
    signal: abort.signal,
  });
  await api.call("POST", "/volumes/create", { Name: "far" });
  const first = await body?.getReader().read();
  expect(JSON.parse(Buffer.from(first?.value ?? "").toString())).toMatchObject({ Action: "create" });
  abort.abort();
  await api.call("DELETE", "/volumes/far");
});

test("killed: the daemon finds its containers again, also a paused one, the exits that it missed, and its events", async () => {
  const { api, image, engine } = world;
  const since = Date.now() / 1000;
  const paused = await api.run(image, ["sh", "-c", "while :; do echo; sleep 0.02; done"]);
  expect((await api.call("POST", `/containers/${paused}/pause`)).status).toBe(204);
  // More than are in memory.
  for (let n = 0; n < 300; n++)
    await api.call("POST", `/images/${encodeURIComponent(image)}/tag?repo=told&tag=${n % 2}`);
  const long = await api.run(image, ["sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"]);
  const short = await api.run(image, ["sh", "-c", "sleep 0.5; exit 5"]);
  const removed = await api.run(image, ["sleep", "0.5"], {
    HostConfig: { NetworkMode: "none", AutoRemove: true },
  });
  await engine.suite.kill("dockerd", "SIGKILL");
  await Bun.sleep(700); // the time in which the two end unseen
  await engine.suite.start("dockerd");
  expect((await api.call("GET", `/containers/${long}/json`)).json.State.Status).toBe("running");
  expect((await api.call("POST", `/containers/${short}/wait`)).json).toEqual({ StatusCode: 5 });
  await eventually(async () => (await api.call("GET", `/containers/${removed}/json`)).status === 404);
  expect((await api.call("POST", `/containers/${long}/kill`)).status).toBe(204);
  const logs = await fetch(`http://docker/containers/${long}/logs?stdout=1`, { unix: api.socketPath });
  const numbers = demultiplex(Buffer.from(await logs.arrayBuffer()))
    .stdout.trim()
    .split("\n")
    .map(Number);
  expect(numbers).toEqual(numbers.map((_, index) => index));
  const status = async () => (await api.call("GET", `/containers/${paused}/json`)).json.State.Status;
  expect(await status()).toBe("paused");
  const written = async () => (await api.call("GET", `/containers/${paused}/logs?stdout=1`)).text.length;
  const before = await written();
  expect((await api.call("POST", `/containers/${paused}/unpause`)).status).toBe(204);
  expect(await status()).toBe("running");
  await eventually(async () => (await written()) > before);
  const query = `since=${since.toFixed(3)}&until=${(Date.now() / 1000).toFixed(3)}`;
  const { text } = await api.call("GET", `/events?${query}&filters={"event":["tag"]}`);
  const names = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).Actor.Attributes.name);
  expect(names).toEqual(Array.from({ length: 300 }, (_, n) => `told:${n % 2}`));
  for (const n of [0, 1]) await api.call("DELETE", `/images/told:${n}`);
  for (const one of [long, short, paused]) await api.call("DELETE", `/containers/${one}?force=1`);
  expect(await engine.leaks()).toEqual([]);
});

test("images: tags come and go, and the last one takes the image with it", async () => {
  const { api, image } = world;
  const tag = await api.call("POST", `/images/${encodeURIComponent(image)}/tag?repo=copy&tag=1`);
  expect(tag.status).toBe(201);
  const { json } = await api.call("GET", "/images/copy:1/json");
  expect(json.RepoTags).toContain("copy:1");
  expect((await api.call("GET", "/images/copy:1/history")).json).not.toEqual([]);
  const id = await api.create(json.Id, ["true"]);
  expect((await api.call("DELETE", "/images/copy:1")).json).toEqual([{ Untagged: "copy:1" }]);
  const used = await api.call("DELETE", `/images/${image}`);
  expect(used.status).toBe(409);
  expect(used.json.message).toContain("is using its referenced image");
  const short = json.Id.slice("sha256:".length, 19);
  const refusal = async (query = "") => (await api.call("DELETE", `/images/${short}${query}`)).json.message;
  const why = (must: string, state: string) =>
    `conflict: unable to delete ${short} (${must}) - image is being used by ${state} container ${id.slice(0, 12)}`;
  expect(await refusal()).toBe(why("must be forced", "stopped"));
  await api.call("DELETE", `/containers/${id}`);
});

test("images: they are pruned by one client at a time", async () => {
  const refusals = async () => {
    const prune = () => world.api.call("POST", `/images/prune?filters={"label":["no-such"]}`);
    const answers = await Promise.all(Array.from({ length: 8 }, prune));
    expect(answers.map(({ status }) => status)).toContain(200);
    return answers.filter(({ status }) => status !== 200);
  };
  let refused: Awaited<ReturnType<typeof refusals>> = [];
  await eventually(async () => {
    refused = await refusals();
    return refused.length > 0;
  });
  expect([refused[0]?.status, refused[0]?.json.message]).toEqual([
    409,
    "a prune operation is already running",
  ]);
});

test("images: labels that others have given a name in containerd stay when it moves", async () => {
  const { api, engine, image } = world;
  const name = "docker.io/library/moved:1";
  const tagAs = (what: string) =>
    api.call("POST", `/images/${encodeURIComponent(what)}/tag?repo=moved&tag=1`);
  await tagAs(image);
  const id = await api.create(image, ["true"]);
  const other = (await api.call("POST", `/commit?container=${id}`)).json.Id;
  const channel = channelTo(engine.suite.paths.containerdSocket);
  const defaults = { metadata: { "containerd-namespace": "moby" } };
  const { get, update } = createClient(channel, ImagesDefinition, defaults);
  const { image: before } = await get({ name });
  if (!before) throw new Error("containerd has the name");
  const labeled = { ...before, labels: { mine: "1" } };
  await update({ image: labeled, updateMask: ["labels.mine"], sourceDateEpoch: undefined });
  await tagAs(other);
  const after = (await get({ name })).image;
  expect(after?.labels).toEqual({ ...before.labels, mine: "1" });
  expect(after?.target?.digest).not.toBe(before.target?.digest);
  // What is to go on without a name has one in containerd before it has lost its own.
  await tagAs((await api.call("POST", `/commit?container=${id}`)).json.Id);
  const nameless = await get({ name: `moby-dangling@${after?.target?.digest}` });
  const nanos = (time?: { seconds: bigint; nanos: number }) =>
    (time?.seconds ?? 0n) * 1_000_000_000n + BigInt(time?.nanos ?? 0);
  const again = (await get({ name })).image;
  expect(nanos(nameless.image?.createdAt) < nanos(again?.updatedAt)).toBe(true);
  channel.close();
  await api.call("DELETE", `/containers/${id}`);
  await api.call("DELETE", `/images/moved:1`);
});

test("images: one that a container runs of keeps its data when its last name is taken by force", async () => {
  const { api, image } = world;
  const id = await api.run(image, ["sleep", "1000"]);
  const { Id, RepoDigests } = (await api.call("GET", `/images/${encodeURIComponent(image)}/json`)).json;
  const forced = await api.call("DELETE", `/images/${Id}?force=1`);
  expect([forced.status, forced.json.message]).toEqual([
    409,
    expect.stringMatching(/\(cannot be forced\) - image is being used by running container/),
  ]);
  expect((await api.call("DELETE", `/images/${image}`)).json.message).toContain("(must force) - container");
  expect((await api.call("DELETE", `/images/${image}?force=1`)).json).toEqual([
    { Untagged: image },
    { Untagged: RepoDigests[0] },
  ]);
  const { RepoTags } = (await api.call("GET", `/images/${Id}/json`)).json;
  expect(RepoTags).toEqual([]);
  const [repo, tag] = image.split(/:(?=[^:]*$)/);
  expect((await api.call("POST", `/images/${Id}/tag?repo=${repo}&tag=${tag}`)).status).toBe(201);
  await api.call("DELETE", `/containers/${id}?force=1`);
});
