import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { poll } from "@longshore/syscalls";
import { OomWatch } from "./oom-watch.ts";

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "ls-oom-"));
afterAll(() => fs.rmSync(directory, { recursive: true }));

test("a watch that goes on in another program takes what came meanwhile, whether it is a kill or not", () => {
  const group = { directory, unified: true };
  const write = (name: string, text: string) => fs.writeFileSync(path.join(directory, name), text);
  write("memory.events", "max 0\noom_kill 0\n");
  write("cgroup.events", "populated 1\nfrozen 0\n");
  let told = 0;
  const onOom = () => told++;
  const { open } = new OomWatch(group, { told: 0, onOom }).suspended ?? {};
  if (!open) throw new Error("a watch that was closed");
  const isReadable = () => poll([{ fd: open.fd, events: 1 }], 0)[0]?.readable;
  write("cgroup.events", "populated 1\nfrozen 1\n");
  expect(isReadable()).toBe(true);
  const watch = new OomWatch(group, { told: 0, onOom, open });
  expect([isReadable(), told]).toEqual([false, 0]);
  write("memory.events", "max 7\noom_kill 1\n");
  const next = new OomWatch(group, { told: watch.told, onOom, open });
  expect([isReadable(), told, next.told]).toEqual([false, 1, 1]);
  next.close();
});
