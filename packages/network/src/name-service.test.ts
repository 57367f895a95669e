import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { openStore } from "@longshore/store";
import { Endpoints } from "./endpoints.ts";
import { NameService } from "./name-service.ts";

test("NameService.serve() begins anew with a sandbox whose names it couldn't lead to itself", async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-names-"));
  const store = openStore(`sqlite:${path.join(directory, "db")}`);
  try {
    using names = new NameService({ endpoints: await Endpoints.load(store), network: () => undefined });
    let done = 0;
    const failing = (work: () => void) => {
      done++;
      if (done === 2) throw new Error("no room for a table");
      work(); // only listens: its namespace is this one
    };
    await expect(names.serve("one", failing)).rejects.toThrow("no room");
    const again: string[] = [];
    await names.serve("one", (work) => {
      again.push("done");
      if (again.length === 1) work();
    });
    expect(again).toEqual(["done", "done"]);
  } finally {
    await store[Symbol.asyncDispose]();
    fs.rmSync(directory, { recursive: true });
  }
});
