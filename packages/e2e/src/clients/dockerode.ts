/**
 * What programs do with dockerode, run by Node as theirs are: `tsx dockerode.ts SOCKET IMAGE`. Prints each step before it; the first that
 * isn't as it should be ends it with status 1.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { PassThrough, type Readable, Writable } from "node:stream";
import Docker from "dockerode";

const [socketPath = "", image = ""] = process.argv.slice(2);
const docker = new Docker({ socketPath });

async function step(name: string, work: () => Promise<void>): Promise<void> {
  console.log(name);
  await work();
}

/** A sink that keeps what it gets. */
function collector(): Writable & { text(): string } {
  const chunks: Buffer[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return Object.assign(sink, { text: () => Buffer.concat(chunks).toString() });
}

/** Both streams of a multiplexed one, when it has ended. */
async function demultiplexed(stream: NodeJS.ReadableStream): Promise<{ out: string; err: string }> {
  const [out, err] = [collector(), collector()];
  docker.modem.demuxStream(stream, out, err);
  await once(stream, "end");
  return { out: out.text(), err: err.text() };
}

const quiet = { Image: image, HostConfig: { NetworkMode: "none" } };

await step("ping, version, info", async () => {
  assert.equal(String(await docker.ping()), "OK");
  const version = await docker.version();
  assert.equal(version.Os, "linux");
  assert.equal((await docker.info()).Swarm.LocalNodeState, "inactive");
});

await step("pull with progress, images, tag, history, remove", async () => {
  const stream = await docker.pull(image);
  const lines = await new Promise<{ status?: string }[]>((resolve, reject) =>
    docker.modem.followProgress(stream, (error, output) => (error ? reject(error) : resolve(output))),
  );
  assert.match(lines.at(-1)?.status ?? "", /^Status: Image is up to date for /);
  const before = await docker.listImages();
  assert.ok(before.some(({ RepoTags }) => RepoTags?.includes(image)));
  const inspected = await docker.getImage(image).inspect();
  await docker.getImage(image).tag({ repo: "dockerode/mine", tag: "1" });
  assert.equal((await docker.getImage("dockerode/mine:1").inspect()).Id, inspected.Id);
  assert.ok((await docker.getImage(image).history()).length > 0);
  await docker.getImage("dockerode/mine:1").remove();
  await assert.rejects(docker.getImage("dockerode/mine:1").inspect(), { statusCode: 404 });
});

await step("run", async () => {
  const sink = collector();
  const [result, container] = (await docker.run(image, ["sh", "-c", "echo hello; exit 4"], sink, {
    Tty: false,
    HostConfig: { NetworkMode: "none" },
  })) as [{ StatusCode: number }, Docker.Container];
  assert.equal(result.StatusCode, 4);
  // run() takes the stream as it is, so the frame's header is in it.
  assert.match(sink.text(), /hello\n$/);
  await container.remove();
});

await step("attach with stdin before the start", async () => {
  const container = await docker.createContainer({
    ...quiet,
    Cmd: ["sh", "-c", "cat; echo err >&2; exit 3"],
    OpenStdin: true,
    StdinOnce: true,
  });
  const stream = await container.attach({
    stream: true,
    stdin: true,
    stdout: true,
    stderr: true,
    hijack: true,
  });
  const streams = demultiplexed(stream);
  await container.start();
  stream.write("one\n");
  stream.end("two\n");
  assert.deepEqual(await streams, { out: "one\ntwo\n", err: "err\n" });
  assert.equal(((await container.wait()) as { StatusCode: number }).StatusCode, 3);
  await container.remove();
});

await step("a container's life with exec, logs, stats, top, archives, events and commit", async () => {
  const events = (await docker.getEvents({
    filters: JSON.stringify({ type: ["container"], label: ["dockerode"] }),
  })) as Readable;
  const seen: string[] = [];
  events.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().split("\n").filter(Boolean)) seen.push(JSON.parse(line).Action);
  });
  const container = await docker.createContainer({
    ...quiet,
    name: "dockerode-life",
    Labels: { dockerode: "yes" },
    Cmd: ["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do usleep 20000; done"],
  });
  await container.start();
  await assert.rejects(container.start(), { statusCode: 304 });
  const logs = await container.logs({ follow: true, stdout: true, stderr: true });
  const logged = demultiplexed(logs);

  const exec = await container.exec({
    Cmd: ["sh", "-c", "tr a-z A-Z; exit 6"],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
  });
  const stream = await exec.start({ hijack: true, stdin: true });
  const streams = demultiplexed(stream);
  stream.end("shout\n");
  assert.deepEqual(await streams, { out: "SHOUT\n", err: "" });
  assert.equal((await exec.inspect()).ExitCode, 6);

  const tty = await container.exec({ Cmd: ["tty"], AttachStdout: true, Tty: true });
  const terminal = await tty.start({ Tty: true, hijack: true });
  const text = terminal.pipe(new PassThrough()).setEncoding("utf8");
  let said = "";
  for await (const part of text) said += part;
  assert.equal(said, "/dev/pts/0\r\n");

  const stats = await container.stats({ stream: false });
  assert.ok(stats.memory_stats.usage > 0);
  assert.ok((await container.top()).Processes.length > 0);
  const tar = await container.getArchive({ path: "/etc/passwd" });
  const bytes: Buffer[] = [];
  for await (const chunk of tar) bytes.push(chunk as Buffer);
  await container.putArchive(Buffer.concat(bytes), { path: "/tmp" });
  const changes = (await container.changes()) as { Path: string }[];
  assert.ok(changes.some(({ Path }) => Path === "/tmp/passwd"));
  const committed = (await container.commit({ repo: "dockerode/committed", tag: "1" })) as { Id: string };
  assert.match(committed.Id, /^sha256:/);
  await docker.getImage("dockerode/committed:1").remove();

  await container.pause();
  assert.equal((await container.inspect()).State.Status, "paused");
  await container.unpause();
  await container.rename({ name: "dockerode-other" });
  await container.update({ CpuShares: 256 });
  await container.stop({ t: 5 });
  assert.deepEqual(await logged, { out: "ready\n", err: "" });
  const { State, Name, HostConfig } = await container.inspect();
  assert.deepEqual([State.ExitCode, Name, HostConfig.CpuShares], [0, "/dockerode-other", 256]);
  await container.remove({ v: true });
  for (const end = Date.now() + 20_000; !seen.includes("destroy") && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 20));
  events.destroy();
  for (const action of ["create", "start", "pause", "unpause", "rename", "update", "die", "stop", "destroy"])
    assert.ok(seen.includes(action), `${action} is not among ${seen}`);
});

await step("networks and volumes", async () => {
  const network = await docker.createNetwork({ Name: "dockerode-net", Labels: { a: "b" } });
  await docker.createVolume({ Name: "dockerode-vol" });
  const container = await docker.createContainer({
    Image: image,
    Cmd: ["sleep", "1000"],
    HostConfig: { NetworkMode: "dockerode-net", Binds: ["dockerode-vol:/data"] },
  });
  await container.start();
  assert.deepEqual(Object.keys((await container.inspect()).NetworkSettings.Networks), ["dockerode-net"]);
  assert.equal(Object.keys((await network.inspect()).Containers ?? {}).length, 1);
  await assert.rejects(network.remove(), { statusCode: 403 });
  await assert.rejects(docker.getVolume("dockerode-vol").remove(), { statusCode: 409 });
  await container.remove({ force: true });
  await network.remove();
  await docker.getVolume("dockerode-vol").remove();
  assert.deepEqual((await docker.listVolumes()).Volumes, []);
});

await step("refusals have a status and a reason", async () => {
  await assert.rejects(docker.getContainer("nobody").inspect(), {
    statusCode: 404,
    reason: "no such container",
  });
  await assert.rejects(docker.createContainer({ Image: "no/such:1" }), { statusCode: 404 });
  await docker.pruneContainers();
});
console.log("done");
