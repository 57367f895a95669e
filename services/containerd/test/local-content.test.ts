import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import { ContentDefinition } from "@longshore/api/containerd/services/content/v1/content";
import { LeasesDefinition } from "@longshore/api/containerd/services/leases/v1/leases";
import {
  LocalContentDefinition,
  type LocalWriteRequest,
  type LocalWriteResponse,
} from "@longshore/api/longshore/content/v1/content";
import { type Digest, digestOf } from "@longshore/digest";
import { channelTo, createClient } from "@longshore/rpc";
import { eventually } from "@longshore/testkit";
import { Daemon } from "./daemon.ts";

setDefaultTimeout(60_000);

const code = (wanted: string) => expect.objectContaining({ code: wanted });
const failureOf = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

let daemon: Daemon;
let channel: ReturnType<typeof channelTo>;
const clientsFor = (namespace: string) => {
  const metadata = { "containerd-namespace": namespace, "containerd-lease": "all" };
  return {
    content: createClient(channel, ContentDefinition, { metadata }),
    local: createClient(channel, LocalContentDefinition, { metadata }),
    leases: createClient(channel, LeasesDefinition, {
      metadata: { "containerd-namespace": namespace },
    }),
  };
};
let api: ReturnType<typeof clientsFor>;

beforeAll(async () => {
  daemon = await Daemon.start();
  channel = channelTo(daemon.address);
  for (const namespace of ["a", "b"]) await clientsFor(namespace).leases.create({ id: "all", labels: {} });
  api = clientsFor("a");
});
afterAll(async () => {
  channel.close();
  await daemon[Symbol.asyncDispose]();
});

/** A write whose next step the test decides on. */
function begin(local: typeof api.local) {
  const steps: LocalWriteRequest["step"][] = [];
  let wake = () => {};
  let ended = false;
  const requests = (async function* () {
    for (;;) {
      const step = steps.shift();
      if (step) yield { step };
      else if (ended) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  })();
  const answers = local.write(requests)[Symbol.asyncIterator]();
  return {
    async ask(step: LocalWriteRequest["step"]): Promise<LocalWriteResponse> {
      steps.push(step);
      wake();
      return (await answers.next()).value;
    },
    async end(): Promise<void> {
      ended = true;
      wake();
      await answers.return?.(undefined);
    },
  };
}
const open = (ref: string, total: number, expected: Digest): LocalWriteRequest["step"] => ({
  $case: "open",
  value: { ref, total: BigInt(total), expected },
});
const commit = (total: number, expected: Digest): LocalWriteRequest["step"] => ({
  $case: "commit",
  value: { total: BigInt(total), expected, labels: { a: "1" } },
});

test("a client writes the file by itself; what it leaves is gone on with, and checked at the end", async () => {
  const bytes = Buffer.from("0123456789".repeat(300_000));
  const digest = digestOf(bytes);
  const first = begin(api.local);
  const { path, inode, offset } = await first.ask(open("r", bytes.length, digest));
  expect([fs.statSync(path, { bigint: true }).ino, offset]).toEqual([inode, 0n]);
  fs.writeFileSync(path, bytes.subarray(0, 1_000_000));
  expect((await api.content.status({ ref: "r" })).status?.offset).toBe(1_000_000n);
  const second = begin(api.local);
  expect(await failureOf(second.ask(open("r", bytes.length, digest)))).toEqual(code("unavailable"));
  await first.end();

  const { third, answer } = await eventually(
    async () => {
      const third = begin(api.local);
      const answer = await third.ask(open("r", bytes.length, digest)).catch(() => undefined);
      return answer && { third, answer };
    },
    { what: "the ref unlocked" },
  );
  expect(answer).toMatchObject({ path, offset: 1_000_000n });
  fs.appendFileSync(path, bytes.subarray(1_000_000));
  expect(await third.ask(commit(bytes.length, digest))).toMatchObject({ digest, offset: 3_000_000n });
  expect((await api.content.info({ digest })).info).toMatchObject({ size: 3_000_000n, labels: { a: "1" } });
  expect(await failureOf(begin(api.local).ask(open("r", bytes.length, digest)))).toEqual(
    code("already_exists"),
  );

  // Another namespace adopts it without a byte being written.
  const other = begin(clientsFor("b").local);
  expect(await other.ask(open("r", bytes.length, digest))).toMatchObject({ path: "", offset: 3_000_000n });
  expect((await other.ask(commit(bytes.length, digest))).digest).toBe(digest);
});

test("wrong bytes become no blob, and are not gone on with; steps out of order are refused", async () => {
  const digest = digestOf(Buffer.from("right"));
  const write = begin(api.local);
  const { path } = await write.ask(open("w", 5, digest));
  fs.writeFileSync(path, "wrong");
  expect(await failureOf(write.ask(commit(5, digest)))).toEqual(code("failed_precondition"));
  expect(fs.existsSync(path)).toBe(false);
  expect(await failureOf(api.content.info({ digest }))).toEqual(code("not_found"));
  expect(await failureOf(begin(api.local).ask(commit(5, digest)))).toEqual(code("invalid_argument"));
});
