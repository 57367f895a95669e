import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import {
  BootstrapParams,
  BootstrapResult,
  LogLevel,
} from "@longshore/api/containerd/runtime/bootstrap/v1/bootstrap";
import { Any } from "@longshore/api/google/protobuf/any";
import { canRun, Harness, type TestContainer } from "./harness.ts";

/** How a version of containerd starts a shim, what it can read of the answer, and which task service it calls then. */
interface Version {
  name: string;
  env: (container: TestContainer) => Record<string, string | undefined>;
  stdin: (container: TestContainer) => Uint8Array;
  read: (answer: string) => { address: string; version: number };
}

const plain = (answer: string) => ({ address: answer, version: 2 });
const optionsOf = (container: TestContainer) => Any.encode(container.runtimeOptions).finish();
const ttrpcAddress = ({ dir }: TestContainer) => path.join(dir, "c.sock.ttrpc");
const newer = (container: TestContainer) => ({
  TTRPC_ADDRESS: ttrpcAddress(container),
  GRPC_ADDRESS: path.join(container.dir, "c.sock"),
  NAMESPACE: container.namespace,
  MAX_SHIM_VERSION: "2",
  GOMAXPROCS: "2",
});

function bootstrapParams(container: TestContainer, more: Partial<BootstrapParams> = {}): Uint8Array {
  const { id, namespace, dir } = container;
  const params = {
    instanceId: id,
    namespace,
    containerdVersion: "v2.3.0",
    containerdTtrpcAddress: ttrpcAddress(container),
    containerdGrpcAddress: path.join(dir, "c.sock"),
    extensions: [{ value: container.runtimeOptions }],
  };
  return BootstrapParams.encode(BootstrapParams.fromPartial({ ...params, ...more })).finish();
}

function protobuf(answer: string): { address: string; version: number } {
  const { version, address, protocol } = BootstrapResult.decode(Buffer.from(answer, "latin1"));
  expect(protocol).toBe("ttrpc");
  return { address, version };
}

const VERSIONS: Version[] = [
  {
    name: "1.6",
    env: (container) => ({ TTRPC_ADDRESS: ttrpcAddress(container), GOMAXPROCS: "2" }),
    stdin: optionsOf,
    read: plain,
  },
  { name: "1.7", env: newer, stdin: optionsOf, read: plain },
  { name: "2.0, without options", env: newer, stdin: () => new Uint8Array(0), read: plain },
  { name: "2.3", env: newer, stdin: bootstrapParams, read: protobuf },
  {
    name: "2.3 with a socket directory",
    env: newer,
    stdin: (container) => bootstrapParams(container, { socketDir: path.join(container.dir, "own") }),
    read: protobuf,
  },
  {
    name: "2.3, telling by its parameters alone",
    env: () => ({ TTRPC_ADDRESS: undefined }),
    stdin: (container) => bootstrapParams(container, { logLevel: LogLevel.LOG_LEVEL_DEBUG }),
    read: protobuf,
  },
];

describe.skipIf(!canRun)("start as containerd's versions ask for it", () => {
  for (const { name, env, stdin, read } of VERSIONS) {
    test(`containerd ${name}`, async () => {
      await using harness = new Harness();
      const container = await harness.container({ args: ["sh", "-c", "exit 6"], boot: false });
      const answer = await container.startShim(stdin(container), env(container));
      const { address, version } = read(answer.trim());
      container.address = address;
      const directory = name.includes("directory") ? "own" : "s";
      expect(address).toMatch(new RegExp(`^unix://${container.dir}/${directory}/[0-9a-f]{64}$`));
      expect(fs.statSync(address.slice("unix://".length)).mode & 0o777).toBe(0o600);
      await container.connect(version as 2 | 3);
      await container.create();
      await container.start();
      expect(await container.finish()).toEqual({ exitStatus: 6 });
      expect(harness.topics(container)).toEqual([
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
        "/tasks/delete",
      ]);
    }, 30_000);
  }

  test("options that parse as parameters are not taken for such", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["true"], boot: false });
    const answer = await container.startShim(bootstrapParams(container, { instanceId: "another" }));
    expect(answer).toMatch(/^unix:\/\//);
    container.address = answer;
    await container.connect();
    await container.shutdown();
  }, 30_000);
});
