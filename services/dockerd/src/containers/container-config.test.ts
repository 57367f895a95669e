import { expect, test } from "bun:test";
import type { Image } from "../images/image.ts";
import { createRequestSchema } from "./container-config.ts";
import { mergeConfig } from "./create-container.ts";
import { refuseUnsupported } from "./refuse-unsupported.ts";

/** What the docker client 20.10 sends for `docker run --rm -i busybox sh`. */
const CLI_REQUEST = {
  Hostname: "",
  Domainname: "",
  User: "",
  AttachStdin: true,
  AttachStdout: true,
  AttachStderr: true,
  Tty: false,
  OpenStdin: true,
  StdinOnce: true,
  Env: null,
  Cmd: ["sh"],
  Image: "busybox",
  Volumes: {},
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: {},
  HostConfig: {
    Binds: null,
    ContainerIDFile: "",
    LogConfig: { Type: "", Config: {} },
    NetworkMode: "default",
    PortBindings: {},
    RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
    AutoRemove: true,
    VolumeDriver: "",
    VolumesFrom: null,
    CapAdd: null,
    CapDrop: null,
    CgroupnsMode: "",
    Dns: [],
    DnsOptions: [],
    DnsSearch: [],
    ExtraHosts: null,
    GroupAdd: null,
    IpcMode: "",
    Cgroup: "",
    Links: null,
    OomScoreAdj: 0,
    PidMode: "",
    Privileged: false,
    PublishAllPorts: false,
    ReadonlyRootfs: false,
    SecurityOpt: null,
    UTSMode: "",
    UsernsMode: "",
    ShmSize: 0,
    ConsoleSize: [0, 0],
    Isolation: "",
    CpuShares: 0,
    Memory: 0,
    NanoCpus: 0,
    CgroupParent: "",
    BlkioWeight: 0,
    BlkioWeightDevice: [],
    BlkioDeviceReadBps: null,
    CpuPeriod: 0,
    CpuQuota: 0,
    CpuRealtimePeriod: 0,
    CpuRealtimeRuntime: 0,
    CpusetCpus: "",
    CpusetMems: "",
    Devices: [],
    DeviceCgroupRules: null,
    DeviceRequests: null,
    KernelMemory: 0,
    KernelMemoryTCP: 0,
    MemoryReservation: 0,
    MemorySwap: 0,
    MemorySwappiness: -1,
    OomKillDisable: false,
    PidsLimit: 0,
    Ulimits: null,
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
    MaskedPaths: null,
    ReadonlyPaths: null,
  },
  NetworkingConfig: {
    EndpointsConfig: { default: { IPAMConfig: null, Links: null, Aliases: null, MacAddress: "" } },
  },
};

test("createRequestSchema turns a client's nulls into zero values, and nothing of it is refused", () => {
  const request = createRequestSchema.parse(CLI_REQUEST);
  expect(request.HostConfig.Binds).toEqual([]);
  expect(request.HostConfig.MemorySwappiness).toBe(-1);
  expect(request.Cmd).toEqual(["sh"]);
  expect(request.Entrypoint).toBeNull();
  expect(() => refuseUnsupported(request)).not.toThrow();
});

test("mergeConfig() takes the image's entrypoint and command away for an empty list and an empty string", () => {
  const image = { config: { config: { Entrypoint: ["/e"], Cmd: ["c"] } } } as unknown as Image;
  const merged = (asked: object) => {
    const { Entrypoint, Cmd } = mergeConfig(createRequestSchema.parse({ Image: "x", ...asked }), image, "1");
    return [Entrypoint, Cmd];
  };
  expect(merged({})).toEqual([["/e"], ["c"]]);
  expect(merged({ Cmd: ["d"] })).toEqual([["/e"], ["d"]]);
  expect(merged({ Entrypoint: ["/f"] })).toEqual([["/f"], null]);
  expect(merged({ Entrypoint: [], Cmd: ["d"] })).toEqual([[], ["d"]]);
  expect(merged({ Entrypoint: [""], Cmd: ["d"] })).toEqual([null, ["d"]]);
});

test("createRequestSchema takes a command given as one string", () => {
  expect(createRequestSchema.parse({ Image: "x", Cmd: "ls" }).Cmd).toEqual(["ls"]);
});

test("refuseUnsupported() names the field", () => {
  const refuse = (host: object, config: object = {}) =>
    refuseUnsupported(createRequestSchema.parse({ Image: "x", ...config, HostConfig: host }));
  expect(() => refuse({ Cgroup: "container:x" })).toThrow("HostConfig.Cgroup is not supported");
  expect(() => refuse({ StorageOpt: { size: "1G" } })).toThrow(
    "HostConfig.StorageOpt: --storage-opt is supported only",
  );
  expect(() => refuse({ CpuCount: 2 })).toThrow("HostConfig.CpuCount is not supported");
  expect(() => refuse({ Init: false, RestartPolicy: { Name: "always" } })).not.toThrow();
});
