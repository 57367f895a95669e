import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { findPlugin } from "./find-plugin.ts";

test("findPlugin() looks for sockets, then for files with an address, as Docker does", async () => {
  using dir = tempDir();
  const [sockets, first, second] = ["sockets", "etc", "usr"].map((name) => path.join(dir.path, name));
  if (!sockets || !first || !second) throw new Error("no directories");
  for (const each of [sockets, first, second, path.join(sockets, "deep")]) fs.mkdirSync(each);
  const find = (name: string) => findPlugin(name, { sockets, specs: [first, second] });
  const servers = ["flat.sock", "deep/deep.sock"].map((name) =>
    Bun.serve({ unix: path.join(sockets, name), fetch: () => new Response("") }),
  );
  expect(find("flat")).toEqual({ name: "flat", url: "http://plugin", unix: path.join(sockets, "flat.sock") });
  expect(find("deep").unix).toBe(path.join(sockets, "deep", "deep.sock"));
  for (const server of servers) await server.stop(true);

  fs.writeFileSync(path.join(second, "a.spec"), "unix:///run/a.sock\n");
  expect(find("a")).toEqual({ name: "a", url: "http://plugin", unix: "/run/a.sock" });
  fs.writeFileSync(path.join(first, "b.spec"), "tcp://127.0.0.1:99/");
  expect(find("b")).toEqual({ name: "b", url: "http://127.0.0.1:99" });
  fs.writeFileSync(path.join(dir.path, "ca"), "CA");
  const TLSConfig = { InsecureSkipVerify: false, CAFile: path.join(dir.path, "ca") };
  fs.writeFileSync(path.join(first, "c.json"), JSON.stringify({ Name: "c", Addr: "https://h:1", TLSConfig }));
  expect(find("c")).toEqual({ name: "c", url: "https://h:1", tls: { ca: "CA", rejectUnauthorized: true } });

  for (const name of ["nope", "", "../etc/a", "."])
    expect(() => find(name)).toThrow(`plugin ${JSON.stringify(name)} not found`);
  fs.writeFileSync(path.join(first, "d.spec"), "gopher://x");
  expect(() => find("d")).toThrow("invalid address");
  fs.writeFileSync(path.join(first, "e.json"), "{");
  expect(() => find("e")).toThrow("holds no plugin's address");
});
