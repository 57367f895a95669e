import { expect, test } from "bun:test";
import { parseBindSpec, parseMountRequest, parseVolumesFrom } from "./parse-mounts.ts";

const asked = (request: Parameters<typeof parseMountRequest>[0]) =>
  parseMountRequest(request, { sourceMustExist: true });

test("parseBindSpec() tells binds, named and anonymous volumes apart", () => {
  expect(parseBindSpec("/a/:/b/:ro,rslave").point).toMatchObject({
    type: "bind",
    source: "/a",
    destination: "/b",
    rw: false,
    mode: "ro,rslave",
    propagation: "rslave",
    makeSource: true,
  });
  const named = { type: "volume", name: "data", destination: "/b", copyUp: true, anonymous: false };
  expect(parseBindSpec("data:/b").point).toMatchObject({ ...named, rw: true, mode: "" });
  expect(parseBindSpec("data:/b:nocopy,ro").point).toMatchObject({ ...named, rw: false, copyUp: false });
  expect(parseBindSpec("/b", "local")).toMatchObject({
    point: { type: "volume", name: "", anonymous: true, destination: "/b" },
    volume: { driver: "local" },
  });
});

test("parseBindSpec() refuses in Docker's words", () => {
  const cases: [string, string][] = [
    ["/a:/b:nope", "invalid mode: nope"],
    ["/a:/b:ro,rw", "invalid mode: ro,rw"],
    ["/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"],
    ["/a:", "invalid volume specification: '/a:'"],
    [":/b", "invalid volume specification: ':/b'"],
    ["/a:ro", "invalid volume specification: '/a:ro'"],
    [
      "/a:b",
      `invalid volume specification: '/a:b': invalid mount config for type "bind": invalid mount path: 'b' mount path must be absolute`,
    ],
    [
      "data:/",
      `invalid volume specification: 'data:/': invalid mount config for type "volume": invalid specification: destination can't be '/'`,
    ],
    [
      "data:/b:rslave",
      `invalid volume specification: 'data:/b:rslave': invalid mount config for type "volume": field BindOptions must not be specified`,
    ],
    [
      "/a:/b:nocopy",
      `invalid volume specification: '/a:/b:nocopy': invalid mount config for type "bind": field VolumeOptions must not be specified`,
    ],
  ];
  for (const [spec, message] of cases) expect(() => parseBindSpec(spec)).toThrow(message);
});

test("parseMountRequest() checks what goes with each type", () => {
  const cases: [object, string][] = [
    [{ Type: "bind", Source: "/nosuch/x", Target: "/b" }, "bind source path does not exist: /nosuch/x"],
    [{ Type: "bind", Source: "rel", Target: "/b" }, "invalid mount path: 'rel' mount path must be absolute"],
    [{ Type: "bind", Source: "/", Target: "/b", VolumeOptions: {} }, "field VolumeOptions must not be"],
    [
      { Type: "bind", Source: "/", Target: "/b", BindOptions: { Propagation: "odd" } },
      "invalid propagation mode: odd",
    ],
    [
      { Type: "bind", Source: "/", Target: "/b", BindOptions: { ReadOnlyForceRecursive: true } },
      "ReadOnlyForceRecursive needs ReadOnly",
    ],
    [{ Type: "volume", Target: "/b", ReadOnly: true }, "must not set ReadOnly mode when using anonymous"],
    [{ Type: "volume", Target: "/b", VolumeOptions: { Subpath: "../x" } }, "subpath must be a relative path"],
    [{ Type: "tmpfs", Source: "x", Target: "/b" }, "field Source must not be specified"],
    [{ Type: "tmpfs", Target: "/b", TmpfsOptions: { Options: [["size", "1"]] } }, "invalid option: size=1"],
    [{ Type: "npipe", Source: "x", Target: "/b" }, "mount type unknown"],
    [{ Type: "bind", Source: "/" }, "field Target must not be empty"],
  ];
  for (const [request, message] of cases) expect(() => asked(request as never)).toThrow(message);
  const made = asked({
    Type: "bind",
    Source: "/nosuch/x",
    Target: "/b",
    BindOptions: { CreateMountpoint: true },
  });
  expect(made.point.makeSource).toBe(true);
});

test("parseMountRequest() writes a tmpfs's options as mount(2) takes them", () => {
  const TmpfsOptions = { SizeBytes: 65536, Mode: 0o1770, Options: [["uid", "7"], ["exec"]] };
  const { point } = asked({ Type: "tmpfs", Target: "/b", ReadOnly: true, TmpfsOptions });
  expect(point.options).toEqual(["ro", "mode=1770", "size=65536", "uid=7", "exec"]);
});

test("parseVolumesFrom() takes a container and whether it may be written", () => {
  expect(parseVolumesFrom("c")).toEqual({ container: "c", rw: true });
  expect(parseVolumesFrom("c:ro,z")).toEqual({ container: "c", rw: false });
  for (const spec of ["", "c:", "c:rslave", "c:nocopy", "c:odd"])
    expect(() => parseVolumesFrom(spec)).toThrow(/invalid mode|empty string/);
});
