import { describe, expect, test } from "bun:test";
import { compareVersions } from "../http/api-version.ts";
import { createRequestSchema, updateSchema } from "./container-config.ts";
import { asMeant, asMeantUpdate } from "./older-clients.ts";

function meant(body: object, version: string, isUnified = false) {
  const request = createRequestSchema.parse({ Image: "busybox", ...body });
  const atLeast = (than: string) => compareVersions(version, than) >= 0;
  return asMeant(request, { atLeast, isUnified });
}

const host = (config: object, version: string, isUnified?: boolean) =>
  meant({ HostConfig: config }, version, isUnified).request.HostConfig;

const bind = (options: object) => ({
  Mounts: [{ Type: "bind", Source: "/a", Target: "/b", BindOptions: options }],
});
const mountOf = (config: object, version: string) => host(config, version).Mounts[0];

describe("asMeant()", () => {
  // Field, what is sent, the version that it came with, what is made of it before, and from then on.
  const fields: [keyof ReturnType<typeof host>, unknown, string, unknown, unknown][] = [
    ["AutoRemove", true, "1.25", false, true],
    ["IpcMode", "", "1.40", "shareable", ""],
    ["IpcMode", "private", "1.40", "private", "private"],
    ["KernelMemoryTCP", 1, "1.40", undefined, 1],
    ["KernelMemoryTCP", 1, "1.52", 1, undefined],
    ["CgroupnsMode", "", "1.41", "host", ""],
    ["CgroupnsMode", "private", "1.41", "private", "private"],
    ["ConsoleSize", [5, 6], "1.42", [0, 0], [5, 6]],
    ["KernelMemory", 1, "1.42", 1, undefined],
    ["Annotations", { a: "b" }, "1.43", {}, { a: "b" }],
  ];
  test.each(fields)("%s of %j is another matter from version %s on", (field, sent, since, before, after) => {
    const [, minor = 0] = since.split(".").map(Number);
    expect(host({ [field]: sent }, `1.${minor - 1}`)[field] as unknown).toEqual(before);
    expect(host({ [field]: sent }, since)[field] as unknown).toEqual(after);
  });

  test("leaves the mode of the cgroup namespace to the daemon where there are only cgroups of version 2", () => {
    expect(host({}, "1.24", true).CgroupnsMode).toBe("");
  });

  test("knows options of binds from the version that they came with", () => {
    const options = { NonRecursive: true, CreateMountpoint: true };
    expect(mountOf(bind(options), "1.39")?.BindOptions).toEqual({});
    expect(mountOf(bind(options), "1.41")?.BindOptions).toEqual({ NonRecursive: true });
    expect(mountOf(bind(options), "1.42")?.BindOptions).toEqual(options);
    expect(() => host(bind({ ReadOnlyForceRecursive: true }), "1.43")).toThrow(
      "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
    );
    expect(() => host(bind({ ReadOnlyForceRecursive: true }), "1.44")).not.toThrow();
    expect([meant({}, "1.43").shallowReadOnly, meant({}, "1.44").shallowReadOnly]).toEqual([true, false]);
  });

  test("minds options of another type of mount from version 1.42 on", () => {
    const odd = { Type: "tmpfs", Target: "/b", VolumeOptions: {} };
    expect(mountOf({ Mounts: [odd] }, "1.41")?.VolumeOptions).toBeUndefined();
    expect(() => host({ Mounts: [odd] }, "1.42")).toThrow(
      'VolumeOptions must not be specified on mount type "tmpfs"',
    );
    expect(mountOf({ Mounts: [{ Type: "volume", Target: "/b", TmpfsOptions: {} }] }, "1.41")).toMatchObject({
      TmpfsOptions: undefined,
    });
  });

  test("takes one network before version 1.44, and the container's MAC address alone", () => {
    const endpoints = (...names: string[]) => ({
      NetworkingConfig: {
        EndpointsConfig: Object.fromEntries(names.map((name) => [name, { MacAddress: "02:42:00:00:00:01" }])),
      },
    });
    expect(() => meant(endpoints("a", "b"), "1.43")).toThrow(
      "Container cannot be created with multiple network endpoints: a, b",
    );
    const macs = (version: string, ...names: string[]) =>
      Object.values(meant(endpoints(...names), version).request.NetworkingConfig.EndpointsConfig).map(
        (endpoint) => endpoint?.MacAddress,
      );
    expect(macs("1.43", "a")).toEqual([""]);
    expect(macs("1.44", "a", "b")).toEqual(["02:42:00:00:00:01", "02:42:00:00:00:01"]);
    const own = { MacAddress: "02:42:00:00:00:01" };
    expect(meant(own, "1.43").warnings).toEqual([]);
    for (const version of ["1.44", "1.51"]) {
      expect(meant(own, version).warnings).toEqual([
        expect.stringContaining("MacAddress field is now deprecated"),
      ]);
      expect(meant(own, version).request.MacAddress).toBe(own.MacAddress);
    }
    expect(meant(own, "1.52")).toMatchObject({ request: { MacAddress: "" }, warnings: [] });
  });

  test("knows an endpoint's priority from version 1.48 on", () => {
    const body = { NetworkingConfig: { EndpointsConfig: { a: { GwPriority: 7 }, b: {} } } };
    const priorities = (version: string) =>
      Object.values(meant(body, version).request.NetworkingConfig.EndpointsConfig).map(
        (endpoint) => endpoint?.GwPriority,
      );
    expect([priorities("1.47"), priorities("1.48")]).toEqual([
      [0, 0],
      [7, 0],
    ]);
  });

  test("refuses what of mounts only newer versions have, and the capabilities that only 1.40 had", () => {
    const mount = (fields: object) => ({ Mounts: [{ Target: "/b", ...fields }] });
    const subpath = mount({ Type: "volume", Source: "v", VolumeOptions: { Subpath: "s" } });
    expect(() => host(subpath, "1.44")).toThrow("VolumeOptions.Subpath needs API v1.45 or newer");
    expect(mountOf(subpath, "1.45")?.VolumeOptions?.Subpath).toBe("s");
    const image = mount({ Type: "image", Source: "busybox" });
    expect(() => host(image, "1.47")).toThrow('Mount type "Image" needs API v1.48 or newer');
    expect(mountOf(image, "1.48")?.Type).toBe("image");
    const capabilities = { Capabilities: ["CAP_CHOWN"] };
    expect(() => host(capabilities, "1.40")).toThrow("the HostConfig.Capabilities field is not supported");
    for (const version of ["1.39", "1.41"])
      expect(host(capabilities, version)).not.toHaveProperty("Capabilities");
  });

  test("warns from version 1.48 on of a volume driver that mounts don't follow", () => {
    const driven = (driver?: object) => ({
      HostConfig: {
        VolumeDriver: "other",
        Mounts: [{ Type: "volume", Source: "v", Target: "/b", VolumeOptions: { DriverConfig: driver } }],
      },
    });
    expect(meant(driven(), "1.47").warnings).toEqual([]);
    expect(meant(driven(), "1.48").warnings).toEqual([
      "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead",
    ]);
    expect(meant(driven({ Name: "local" }), "1.48").warnings).toEqual([]);
  });

  test("has any port of the host's for one without a binding, of which it warns from version 1.52 on", () => {
    const body = {
      HostConfig: { PortBindings: { "80": [], "81/UDP": null, "82/tcp": [{ HostPort: "8" }] } },
      ExposedPorts: { "80": {}, "90-92": {} },
    };
    for (const version of ["1.24", "1.51", "1.52", "1.55"]) {
      expect(meant(body, version).request.HostConfig.PortBindings).toEqual({
        "80/tcp": [{ HostIp: "", HostPort: "" }],
        "81/udp": [{ HostIp: "", HostPort: "" }],
        "82/tcp": [{ HostIp: "", HostPort: "8" }],
      });
      expect(meant(body, version).request.ExposedPorts).toEqual(["80/tcp", "90-92/tcp"]);
    }
    expect(meant(body, "1.51").warnings).toEqual([]);
    expect(meant(body, "1.52").warnings).toEqual([
      "Following container port(s) have an empty list of port-bindings: 80/tcp, 81/udp. Such bindings will be discarded in a future version.",
    ]);
  });

  test("knows the interval of health checks at the start from version 1.44 on", () => {
    const check = { Healthcheck: { Test: ["CMD", "true"], StartInterval: 5 } };
    expect(meant(check, "1.43").request.Healthcheck?.StartInterval).toBe(0);
    expect(meant(check, "1.44").request.Healthcheck?.StartInterval).toBe(5);
    expect(meant({}, "1.24").request.Healthcheck).toBeNull();
  });
});

test("asMeantUpdate() leaves out what the client's version doesn't have", () => {
  const body = updateSchema.parse({
    PidsLimit: 5,
    KernelMemory: 1,
    KernelMemoryTCP: 1,
    BlkioDeviceReadBps: [{ Path: "/dev/x", Rate: 1 }],
    BlkioDeviceWriteBps: [],
  });
  const updateOf = (version: string) => {
    const { resources, cleared } = asMeantUpdate(body, {
      atLeast: (than) => compareVersions(version, than) >= 0,
    });
    const { PidsLimit, KernelMemory, KernelMemoryTCP, BlkioDeviceReadBps } = resources;
    return [PidsLimit, KernelMemory, KernelMemoryTCP, BlkioDeviceReadBps.length, cleared.length];
  };
  expect(updateOf("1.39")).toEqual([null, 1, 1, 0, 0]);
  expect(updateOf("1.41")).toEqual([5, 1, 1, 0, 0]);
  expect(updateOf("1.42")).toEqual([5, undefined, 1, 0, 0]);
  expect(updateOf("1.52")).toEqual([5, undefined, undefined, 0, 0]);
  expect(updateOf("1.54")).toEqual([5, undefined, undefined, 0, 0]);
  expect(updateOf("1.55")).toEqual([5, undefined, undefined, 1, 1]);
});
