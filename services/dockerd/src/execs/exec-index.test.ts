import { expect, test } from "bun:test";
import { Container, type ContainerRecord } from "../containers/container.ts";
import { Exec } from "./exec.ts";
import { execConfigSchema } from "./exec-config.ts";
import { ExecIndex, KEPT_MS } from "./exec-index.ts";

test("ExecIndex forgets those that ended long ago, and a removed container's", () => {
  const config = execConfigSchema.parse({ Cmd: ["true"] });
  const [one, other] = [{ id: "1" }, { id: "2" }].map((record) => new Container(record as ContainerRecord));
  if (!one || !other) throw new Error("no containers");
  const index = new ExecIndex();
  const [ended, running, others] = [
    new Exec("ended", one, config),
    new Exec("running", one, config),
    new Exec("others", other, config),
  ];
  for (const exec of [ended, running, others]) index.add(exec);
  running.status = "running";
  ended.end(0);
  others.end(1);
  expect([...one.execs]).toEqual(["running"]);
  expect(index.running(one)).toEqual([running]);
  const later = (ended.endedAtMs ?? 0) + KEPT_MS;
  index.sweep(later - 1000);
  expect(index.find("ended")).toBe(ended);
  index.sweep(later + 1000);
  expect(() => index.find("ended")).toThrow("No such exec instance: ended");
  expect(index.find("running")).toBe(running);
  index.forget(one);
  expect(() => index.find("running")).toThrow("No such exec instance: running");
});
