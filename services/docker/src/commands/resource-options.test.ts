import { expect, test } from "bun:test";
import { FlagValues } from "../flags.ts";
import { hostOptions } from "./host-options.ts";
import { RESOURCE_FLAGS } from "./resource-options.ts";

function options(values: Record<string, string[]>): Record<string, unknown> {
  const flags = new FlagValues();
  for (const [name, list] of Object.entries(values)) for (const value of list) flags.add(name, value);
  return hostOptions(flags);
}

test("flags of resources become the fields that the engine takes", () => {
  expect(
    options({
      annotation: ["a=b=c", "d"],
      "blkio-weight": ["300"],
      "blkio-weight-device": ["/dev/sda:200"],
      "device-read-bps": ["/dev/sda:1mb", "/dev/sdb:5"],
      "device-write-iops": ["/dev/sda:30"],
      "cgroup-parent": ["/mine"],
      "memory-swappiness": ["0"],
      "oom-kill-disable": ["true"],
      link: ["db:store"],
      userns: ["host"],
    }),
  ).toMatchObject({
    Annotations: { a: "b=c", d: "" },
    BlkioWeight: 300,
    BlkioWeightDevice: [{ Path: "/dev/sda", Weight: 200 }],
    BlkioDeviceReadBps: [
      { Path: "/dev/sda", Rate: 1 << 20 },
      { Path: "/dev/sdb", Rate: 5 },
    ],
    BlkioDeviceWriteIOps: [{ Path: "/dev/sda", Rate: 30 }],
    CgroupParent: "/mine",
    MemorySwappiness: 0,
    OomKillDisable: true,
    Links: ["db:store"],
    UsernsMode: "host",
  });
});

test("--gpus is a count, or fields of a request", () => {
  const request = (text: string) => (options({ gpus: [text] }).DeviceRequests as object[])[0];
  expect(request("all")).toEqual({
    Driver: "",
    Count: -1,
    DeviceIDs: null,
    Capabilities: [["gpu"]],
    Options: {},
  });
  expect(request("2")).toMatchObject({ Count: 2 });
  expect(request('"device=1,2",driver=nvidia,capabilities=utility')).toMatchObject({
    ...{ Count: 0, DeviceIDs: ["1", "2"], Driver: "nvidia", Capabilities: [["gpu", "utility"]] },
  });
});

test.each([
  ["blkio-weight-device", "/dev/sda", "bad format: /dev/sda"],
  ["blkio-weight-device", "/dev/sda:5", "invalid weight for device: /dev/sda:5"],
  ["device-read-bps", "sda:5", "bad format for device path: sda:5"],
  ["device-read-bps", "/dev/sda:fast", "invalid rate for device: /dev/sda:fast."],
  ["device-read-iops", "/dev/sda:1kb", "invalid rate for device: /dev/sda:1kb."],
  ["gpus", "some", 'invalid count (some): value must be either "all" or an integer'],
  ["gpus", "nope=1", "unexpected key 'nope' in 'nope=1'"],
  ["gpus", "count=1,count=2", "gpu request key 'count' can be specified only once"],
])("--%s %s is refused", (name, value, message) => {
  const flag = RESOURCE_FLAGS.find((one) => one.name === name);
  expect(() => flag?.check?.(value)).toThrow(message);
});
