import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { BootstrapResult } from "@longshore/api/containerd/runtime/bootstrap/v1/bootstrap";
import { tempDir } from "@longshore/testkit";
import { parseBootstrapAnswer, readBootstrap, writeBootstrap } from "./bootstrap.ts";

const ADDRESS = "unix:///run/containerd/s/3f1c";
const text = (answer: string) => parseBootstrapAnswer(Buffer.from(answer));

test("parseBootstrapAnswer() takes the plain address of shims up to 1.7 as version 2 over ttrpc", () => {
  expect(text(`${ADDRESS}\n`)).toEqual({ version: 2, address: ADDRESS, protocol: "ttrpc" });
});

test("parseBootstrapAnswer() takes the JSON of shims from 2.0 on, versions 2 and 3, ttrpc and gRPC", () => {
  for (const version of [2, 3]) {
    for (const protocol of ["ttrpc", "grpc"] as const) {
      const answer = { version, address: ADDRESS, protocol };
      expect(text(JSON.stringify(answer))).toEqual(answer);
    }
  }
});

test("parseBootstrapAnswer() takes the protobuf of shims from 2.3 on", () => {
  const answer = BootstrapResult.fromPartial({ version: 3, address: ADDRESS, protocol: "ttrpc" });
  expect(parseBootstrapAnswer(BootstrapResult.encode(answer).finish())).toEqual({
    version: 3,
    address: ADDRESS,
    protocol: "ttrpc",
  });
});

test("parseBootstrapAnswer() refuses versions, protocols and addresses that it can't use, and noise", () => {
  const json = (fields: object) =>
    JSON.stringify({ version: 3, address: ADDRESS, protocol: "ttrpc", ...fields });
  expect(() => text(json({ version: 4 }))).toThrow("unsupported shim version (4)");
  expect(() => text(json({ protocol: "http" }))).toThrow('unexpected protocol: "http"');
  expect(() => text(json({ address: "vsock://3:1024" }))).toThrow("unsupported shim address");
  expect(() => text("")).toThrow("the shim printed no address");
  expect(() => text("{ nonsense")).toThrow("the shim printed no answer");
  expect(() => text("panic: runtime error")).toThrow();
});

test("readBootstrap() gives what writeBootstrap() kept, else the shim's own address file, else nothing", () => {
  using dir = tempDir();
  expect(readBootstrap(dir.path)).toBeUndefined();
  fs.writeFileSync(path.join(dir.path, "address"), ADDRESS);
  expect(readBootstrap(dir.path)).toEqual({ version: 2, address: ADDRESS, protocol: "ttrpc" });
  const kept = { version: 3, address: ADDRESS, protocol: "grpc" } as const;
  writeBootstrap(dir.path, kept);
  expect(readBootstrap(dir.path)).toEqual(kept);
});
