import { describe, expect, test } from "bun:test";
import { compareVersions } from "../http/api-version.ts";
import { createRequestSchema } from "./container-config.ts";
import { asMeant } from "./older-clients.ts";

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
    expect(meant(own, "1.44").warnings).toEqual([
      expect.stringContaining("MacAddress field is now deprecated"),
    ]);
  });

  test("knows the interval of health checks at the start from version 1.44 on", () => {
    const check = { Healthcheck: { Test: ["CMD", "true"], StartInterval: 5 } };
    expect(meant(check, "1.43").request.Healthcheck?.StartInterval).toBe(0);
    expect(meant(check, "1.44").request.Healthcheck?.StartInterval).toBe(5);
    expect(meant({}, "1.24").request.Healthcheck).toBeNull();
  });
});
