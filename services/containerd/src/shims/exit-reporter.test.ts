import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { TaskExit } from "@longshore/api/containerd/events/task";
import { tempDir } from "@longshore/testkit";
import { Exchange } from "../events/exchange.ts";
import { eventMessage } from "../plugin.ts";
import { Bundle } from "./bundle.ts";
import { forgetTold, readExitRecords, wasTold } from "./exit-record.ts";
import { ExitReporter } from "./exit-reporter.ts";

const exitedAt = { seconds: 1_700_000_000n, nanos: 5 };

function setUp(directory: string) {
  const dirs = { root: path.join(directory, "root"), state: path.join(directory, "state") };
  const bundle = new Bundle(dirs, "moby", "c1");
  bundle.create(undefined);
  const exchange = new Exchange();
  const seen: string[] = [];
  exchange.listen(({ topic, event }, { onNats = false }) => {
    const { id, exitStatus } = TaskExit.decode(event?.value ?? Buffer.alloc(0));
    seen.push(`${topic} ${id} ${exitStatus} ${onNats}`);
  });
  return { bundle, seen, exits: new ExitReporter(exchange, () => bundle) };
}

test("ExitReporter publishes an exit once, whoever tells of it first, and marks it as told", () => {
  using dir = tempDir();
  const { bundle, seen, exits } = setUp(dir.path);
  const exit = { containerId: "c1", id: "c1", pid: 7, exitStatus: 3, exitedAt };
  const event = eventMessage("TaskExit", TaskExit, exit);
  const envelope = {
    timestamp: exitedAt,
    namespace: "moby",
    topic: "/tasks/exit",
    event: { typeUrl: event.typeUrl, value: Buffer.from(event.value) },
  };
  const init = { execId: "", pid: 7 };
  expect(wasTold(bundle.path, init)).toBe(false);
  exits.forward(envelope, { onNats: true });
  exits.forward(envelope, {});
  exits.report(bundle, { execId: "", pid: 7, exitStatus: 3, exitedAt });
  fs.mkdirSync(path.join(bundle.path, "exits"));
  fs.writeFileSync(path.join(bundle.path, "exits/e1.json"), "{}");
  exits.report(bundle, { execId: "e1", pid: 9, exitStatus: 4, exitedAt });
  exits.report(bundle, { execId: "deleted", pid: 11, exitStatus: 0, exitedAt });
  expect(seen).toEqual(["/tasks/exit c1 3 true", "/tasks/exit e1 4 false", "/tasks/exit deleted 0 false"]);
  expect(wasTold(bundle.path, init)).toBe(true);
  expect(wasTold(bundle.path, { execId: "e1", pid: 9 })).toBe(true);
  expect(wasTold(bundle.path, { execId: "e1", pid: 10 })).toBe(false);
  expect(wasTold(bundle.path, { execId: "deleted", pid: 11 })).toBe(false);
  forgetTold(bundle.path, "e1");
  expect(wasTold(bundle.path, { execId: "e1", pid: 9 })).toBe(false);
});

test("readExitRecords() reads what shims wrote, and passes over a torn record", () => {
  using dir = tempDir();
  const { bundle } = setUp(dir.path);
  const exits = path.join(bundle.path, "exits");
  expect(readExitRecords(bundle.path)).toEqual([]);
  fs.mkdirSync(exits);
  const record = { pid: 7, exit_status: 3, exited_at: "2023-11-14T22:13:20.000000005Z" };
  fs.writeFileSync(path.join(exits, "init.json"), JSON.stringify(record));
  fs.writeFileSync(path.join(exits, "e1.json"), '{"pid":');
  expect(readExitRecords(bundle.path)).toEqual([{ execId: "", pid: 7, exitStatus: 3, exitedAt }]);
});

test("Bundle.create() lays the bundle out as shims expect it, and remove() leaves nothing", () => {
  using dir = tempDir();
  const { bundle } = setUp(dir.path);
  expect(fs.readdirSync(bundle.path).sort()).toEqual(["log", "rootfs", "work"]);
  expect(fs.statSync(bundle.path).mode & 0o777).toBe(0o700);
  expect(fs.lstatSync(bundle.log).isFIFO()).toBe(true);
  expect(() =>
    new Bundle({ root: dir.path, state: path.join(dir.path, "state") }, "moby", "c1").create(undefined),
  ).toThrow("already exists");
  bundle.remove();
  bundle.remove();
  expect(fs.readdirSync(path.join(dir.path, "state", "moby"))).toEqual([]);
  expect(fs.readdirSync(path.join(dir.path, "root", "moby"))).toEqual([]);
});
