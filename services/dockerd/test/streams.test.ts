import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import { eventually } from "@longshore/testkit";
import { demultiplex, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(90_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

const inspect = async (id: string) => (await world.api.call("GET", `/containers/${id}/json`)).json;
const remove = (id: string) => world.api.call("DELETE", `/containers/${id}?force=1`);
const wait = async (id: string) => (await world.api.call("POST", `/containers/${id}/wait`)).json.StatusCode;

async function logs(id: string, query = ""): Promise<{ stdout: string; stderr: string }> {
  const target = `http://docker/containers/${id}/logs?stdout=1&stderr=1${query}`;
  const answer = await fetch(target, { unix: world.api.socketPath });
  return demultiplex(Buffer.from(await answer.arrayBuffer()));
}

describe("attach over a websocket", () => {
  const HEADERS = [
    ...["Host: docker", "Connection: Upgrade", "Upgrade: websocket"],
    ...["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="],
  ];

  /** A client that takes messages apart and sends masked ones. */
  async function connect(target: string) {
    const socket = net.connect(world.api.socketPath);
    await once(socket, "connect");
    let bytes = Buffer.alloc(0);
    let closed = false;
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
    });
    socket.on("close", () => {
      closed = true;
    });
    socket.write(`GET ${target} HTTP/1.1\r\n${HEADERS.join("\r\n")}\r\n\r\n`);
    await eventually(() => closed || bytes.includes("\r\n\r\n"));
    const end = bytes.indexOf("\r\n\r\n");
    const head = bytes.toString("utf8", 0, end);
    bytes = bytes.subarray(end + 4);
    return {
      head,
      send(opcode: number, text: string) {
        const payload = Buffer.from(text);
        socket.write(
          Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0]), payload]),
        );
      },
      /** Opcodes and payloads so far; all short. */
      messages() {
        const found: { opcode: number; text: string }[] = [];
        for (let at = 0; at + 2 <= bytes.length; ) {
          const length = bytes[at + 1] ?? 0;
          if (at + 2 + length > bytes.length) break;
          found.push({
            opcode: (bytes[at] ?? 0) & 15,
            text: bytes.toString("latin1", at + 2, at + 2 + length),
          });
          at += 2 + length;
        }
        return found;
      },
      text() {
        return this.messages()
          .filter(({ opcode }) => opcode === 2)
          .map(({ text }) => text)
          .join("");
      },
      isClosed: () => closed,
      [Symbol.dispose]: () => void socket.destroy(),
    };
  }

  test("both ways, from the logs on, until the process's end", async () => {
    const { api, image } = world;
    const id = await api.run(
      image,
      ["sh", "-c", "echo before; while read l; do echo got $l; [ $l = end ] && exit; done"],
      {
        OpenStdin: true,
      },
    );
    await eventually(async () => (await logs(id)).stdout === "before\n");
    using client = await connect(`/containers/${id}/attach/ws?logs=1&stream=1&stdin=1&stdout=1&stderr=1`);
    expect(client.head).toStartWith("HTTP/1.1 101");
    expect(client.head).toContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    client.send(2, "one\n");
    await eventually(() => client.text() === "before\ngot one\n");
    client.send(9, "ping");
    await eventually(() => client.messages().some(({ opcode, text }) => opcode === 10 && text === "ping"));
    client.send(1, "end\n");
    await eventually(() => client.isClosed());
    expect(client.text()).toBe("before\ngot one\ngot end\n");
    expect(client.messages().at(-1)?.opcode).toBe(8);
    expect(await wait(id)).toBe(0);
    await remove(id);
  });

  test("what is no websocket is refused, and older clients have all streams", async () => {
    const { api, image } = world;
    const id = await api.run(image, ["sh", "-c", "read l; echo err $l >&2"], { OpenStdin: true });
    const plain = await api.call("GET", `/containers/${id}/attach/ws?stream=1`);
    expect([plain.status, plain.json.message]).toEqual([400, "not websocket protocol"]);
    using client = await connect(`/v1.41/containers/${id}/attach/ws?stream=1`);
    client.send(2, "x\n");
    await eventually(() => client.isClosed());
    expect(client.text()).toBe("err x\n");
    await remove(id);
  });
});

test("what can't be attached to is told as text, as the stream would have come", async () => {
  const { api, image } = world;
  const id = await api.run(image, ["sleep", "1000"], {}, "still");
  await api.call("POST", "/containers/still/pause");
  const refused = async (target: string) => {
    const plain = await api.call("POST", target);
    const stream = await api.hijack(target);
    const head = /^HTTP\/1.1 (\d+) .*Content-Type: ([^\r]*)/s.exec(stream.head);
    const [status, type] = [plain.status, plain.headers.get("content-type") ?? ""];
    expect([Number(head?.[1]), head?.[2] ?? "", (await stream.ended).toString()]).toEqual([
      status,
      type,
      plain.text,
    ]);
    return [status, type, plain.text];
  };
  const type = "application/vnd.docker.raw-stream";
  expect(await refused("/containers/nobody/attach?stream=1&stdout=1")).toEqual([
    ...[404, type, "No such container: nobody\r\n"],
  ]);
  expect(await refused("/containers/nobody/attach?stream=1&detachKeys=ctrl-xx")).toEqual([
    ...[400, type, "Invalid detach keys (ctrl-xx) provided\r\n"],
  ]);
  expect(await refused("/containers/still/attach?stream=1&stdout=1")).toEqual([
    ...[409, type, "container still is paused, unpause the container before attach\r\n"],
  ]);
  await remove(id);
});

test("checkpoints are refused in Docker's words", async () => {
  const { api, image } = world;
  const id = await api.create(image, ["true"]);
  const words =
    "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.";
  for (const [method, target] of [
    ["GET", "checkpoints"],
    ["POST", "checkpoints"],
    ["DELETE", "checkpoints/one"],
  ]) {
    const { status, json } = await api.call(method ?? "", `/containers/${id}/${target}`);
    expect([status, json.message]).toEqual([501, words]);
  }
  const start = await api.call("POST", `/containers/${id}/start?checkpoint=one`);
  expect([start.status, start.json.message]).toEqual([
    400,
    "checkpoint is only supported in experimental mode",
  ]);
  await remove(id);
});

describe("logs", () => {
  test("as JSON, by parameter or by what is accepted, from version 1.54 on", async () => {
    const { api, image } = world;
    const LogConfig = { Type: "json-file", Config: { labels: "who" } };
    const id = await api.run(image, ["sh", "-c", "echo one; sleep 0.1; printf 'a\"b' >&2"], {
      Labels: { who: "me" },
      HostConfig: { NetworkMode: "none", LogConfig },
    });
    await wait(id);
    const read = async (query: string, { version = "1.54", accept = "*/*" } = {}) => {
      const target = `http://docker/v${version}/containers/${id}/logs?stdout=1&stderr=1${query}`;
      const answer = await fetch(target, { unix: api.socketPath, headers: { accept } });
      const text = (await answer.text()).replaceAll(/"Timestamp":"[-:.TZ0-9]{20,}"/g, '"Timestamp":"T"');
      return [answer.status, answer.headers.get("content-type"), text];
    };
    const lines = [
      '{"Line":"one\\n","Source":"stdout","Timestamp":"T"}\n',
      '{"Line":"a\\"b","Source":"stderr","Timestamp":"T"}\n',
    ];
    expect(await read("&format=json")).toEqual([200, "application/jsonl", lines.join("")]);
    expect(await read("&format=json&timestamps=1&tail=1", { accept: "text/html" })).toEqual([
      ...[200, "application/x-ndjson", lines[1] ?? ""],
    ]);
    const accept = "application/json-seq";
    const sequence = lines.map((line) => `\x1e${line}`).join("");
    expect(await read("", { accept })).toEqual([200, accept, sequence]);
    expect((await read("&details=1&format=json"))[2]).toContain('"Attrs":[{"Key":"who","Value":"me"}]');
    expect(await read("&format=xml")).toEqual([
      ...[400, "application/json", '{"message":"unsupported log format"}\n'],
    ]);
    const [status, type] = await read("&format=json", { version: "1.53", accept });
    expect([status, type]).toEqual([200, "application/vnd.docker.multiplexed-stream"]);
    await remove(id);
  });

  test("since, until, tail and timestamps go together", async () => {
    const { api, image } = world;
    const id = await api.run(image, ["sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done"]);
    await wait(id);
    const stamped = (await logs(id, "&timestamps=1")).stdout
      .trim()
      .split("\n")
      .map((line) => line.split(" "));
    const at = (n: number) => stamped[n - 1]?.[0] ?? "";
    expect(stamped.map(([, text]) => text)).toEqual(["1", "2", "3", "4", "5", "6"]);
    const seconds = (n: number) => {
      const [, whole = "", fraction = ""] = /^(.*)\.(\d+)Z$/.exec(at(n)) ?? [];
      return `${Date.parse(`${whole}Z`) / 1000}.${fraction}`;
    };
    expect((await logs(id, `&since=${at(3)}`)).stdout).toBe("3\n4\n5\n6\n");
    expect((await logs(id, `&until=${seconds(4)}`)).stdout).toBe("1\n2\n3\n4\n");
    expect((await logs(id, `&since=${seconds(2)}&until=${at(5)}&tail=2`)).stdout).toBe("4\n5\n");
    expect((await logs(id, `&since=${at(2)}&until=${at(5)}&tail=1&timestamps=1`)).stdout).toBe(
      `${at(5)} 5\n`,
    );
    expect((await logs(id, "&tail=0")).stdout).toBe("");
    expect((await logs(id, `&until=${seconds(2)}&follow=1`)).stdout).toBe("1\n2\n");
    await remove(id);
  });

  test("follow goes on across a container's restarts and its log's rotation, and ends with it", async () => {
    const { api, image } = world;
    const script = "i=0; while [ $i -lt 400 ]; do echo $HOSTNAME-$i; i=$((i + 1)); done; sleep 0.3; exit 3";
    const id = await api.create(image, ["sh", "-c", script], {
      Hostname: "h",
      HostConfig: {
        NetworkMode: "none",
        RestartPolicy: { Name: "on-failure", MaximumRetryCount: 2 },
        LogConfig: { Type: "json-file", Config: { "max-size": "8k", "max-file": "20" } },
      },
    });
    await api.call("POST", `/containers/${id}/start`);
    const { stdout } = await logs(id, "&follow=1");
    const lines = stdout.trim().split("\n");
    const once = Array.from({ length: 400 }, (_, n) => `h-${n}`);
    expect(lines).toEqual([...once, ...once, ...once]);
    expect((await inspect(id)).State).toMatchObject({ Status: "exited", ExitCode: 3 });
    await remove(id);
  });
});

test("while one container's shim hangs, everything else is answered, and it is whole again when the shim is", async () => {
  const { api, image, engine } = world;
  const stuck = await api.run(image, ["sleep", "1000"], {}, "stuck");
  const other = await api.run(image, ["sleep", "1000"], {}, "other");
  const { State } = await inspect(stuck);
  const shim = Number(/^PPid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${State.Pid}/status`, "utf8"))?.[1]);
  process.kill(shim, "SIGSTOP");
  try {
    const stopping = api.call("POST", `/containers/${stuck}/stop?t=0`).catch(() => {}); // its daemon is killed
    const asked = async (method: string, target: string, status: number) => {
      const answer = await Promise.race([api.call(method, target), Bun.sleep(20_000)]);
      expect([target, answer?.status]).toEqual([target, status]);
      return answer?.json;
    };
    expect(await asked("GET", "/containers/json", 200)).toHaveLength(2);
    expect((await asked("GET", `/containers/${stuck}/json`, 200)).State.Running).toBe(true);
    await asked("GET", `/containers/${stuck}/logs?stdout=1`, 200);
    await asked("GET", "/info", 200);
    await asked("POST", `/containers/${other}/restart?t=0`, 204);
    const third = await api.run(image, ["true"]);
    expect(await wait(third)).toBe(0);
    await asked("DELETE", `/containers/${third}`, 204);

    await engine.suite.kill("dockerd", "SIGKILL");
    await stopping;
    await engine.suite.start("dockerd");
    expect(await asked("GET", "/containers/json", 200)).toHaveLength(2);
    await asked("POST", `/containers/${other}/restart?t=0`, 204);
  } finally {
    process.kill(shim, "SIGCONT");
  }
  await remove(stuck);
  await remove(other);
  expect(await engine.leaks()).toEqual([]);
});
