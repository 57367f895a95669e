import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { RuntimeInfo } from "@longshore/api/containerd/types/introspection";
import { Options } from "@longshore/api/containerd/types/runc/options/oci";
import { Any } from "@longshore/api/google/protobuf/any";
import { canRun, Harness, ownRunc, peerRunc, shimBinary } from "./harness.ts";

/** Where the tests' machine has its hierarchies. */
const HIERARCHIES = fs.existsSync("/sys/fs/cgroup/cgroup.controllers")
  ? ["/sys/fs/cgroup"]
  : ["memory", "pids"].map((name) => `/sys/fs/cgroup/${name}`);

function runtimeInfo(options?: Partial<Options>) {
  const value = options && Buffer.from(Options.encode(Options.fromPartial(options)).finish());
  const any = value && Any.encode({ typeUrl: "containerd.runc.v1.Options", value }).finish();
  const child = Bun.spawnSync([shimBinary, "-info"], { stdin: any ?? new Uint8Array(0) });
  return { status: child.exitCode, said: child.stderr.toString(), info: RuntimeInfo.decode(child.stdout) };
}

describe.skipIf(!canRun)("the shim's options", () => {
  test("-info tells its name, its version, the options that it was given and the runtime's features", () => {
    for (const runc of [peerRunc, ownRunc].filter((binary) => typeof binary === "string")) {
      const { status, info } = runtimeInfo({ binaryName: runc });
      expect(status).toBe(0);
      expect(info).toMatchObject({ name: "io.containerd.runc.v2", version: { version: "0.1.0" } });
      expect(info.options?.typeUrl).toBe("containerd.runc.v1.Options");
      expect(Options.decode(info.options?.value ?? Buffer.of())).toMatchObject({ binaryName: runc });
      const { typeUrl, value } = info.features ?? { typeUrl: "", value: Buffer.of() };
      expect(typeUrl).toBe("types.containerd.io/opencontainers/runtime-spec/1/features/Features");
      const features = Bun.spawnSync([runc, "features"]).stdout.toString();
      expect(JSON.parse(value.toString())).toEqual(JSON.parse(features));
    }
    expect(runtimeInfo().info.options).toBeUndefined();
    expect(runtimeInfo({ binaryName: "/bin/false" }).info.features).toBeUndefined();
    expect(runtimeInfo({ binaryName: "no-such-runtime" })).toMatchObject({
      status: 1,
      said: expect.stringContaining("no-such-runtime"),
    });
  });

  test("shim_cgroup: the shim moves there, its container doesn't; one that isn't there is refused", async () => {
    const group = `/ls-shim-own-${process.pid}`;
    await using harness = new Harness();
    const lost = await harness.container({ args: ["true"], shimCgroup: `${group}-missing` });
    await expect(lost.create()).rejects.toThrow(`failed to load cgroup ${group}-missing: cgroup deleted`);
    for (const hierarchy of HIERARCHIES) fs.mkdirSync(path.join(hierarchy, group));
    try {
      const container = await harness.container({ args: ["sleep", "1000"], shimCgroup: group });
      const { pid } = await container.create();
      for (const hierarchy of HIERARCHIES) {
        const procs = fs.readFileSync(path.join(hierarchy, group, "cgroup.procs"), "utf8");
        expect(procs.trim().split("\n")).toEqual([String(container.shimPid)]);
      }
      expect(fs.readFileSync(`/proc/${pid}/cgroup`, "utf8")).not.toContain(group);
      await container.start();
      await container.kill(9);
      await container.finish();
    } finally {
      for (const hierarchy of HIERARCHIES) fs.rmdirSync(path.join(hierarchy, group));
    }
  }, 30_000);
});
