import { expect, test } from "bun:test";
import path from "node:path";
import { parseFlags } from "../flags.ts";
import { MOUNT_FLAGS, mountOptions, parseMount } from "./mount-options.ts";

test("parseMount() reads each type's keys", () => {
  expect(parseMount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave,bind-nonrecursive")).toEqual({
    Type: "bind",
    Source: "/a",
    Target: "/b",
    ReadOnly: true,
    BindOptions: { Propagation: "rslave", NonRecursive: true },
  });
  const volume = `source=v,target=/b,volume-nocopy,volume-label=a=b,volume-driver=local,volume-opt=type=tmpfs,"volume-opt=o=size=1m,mode=700",volume-subpath=x/y`;
  expect(parseMount(volume)).toEqual({
    Type: "volume",
    Source: "v",
    Target: "/b",
    VolumeOptions: {
      NoCopy: true,
      Labels: { a: "b" },
      Subpath: "x/y",
      DriverConfig: { Name: "local", Options: { type: "tmpfs", o: "size=1m,mode=700" } },
    },
  });
  expect(parseMount("type=tmpfs,destination=/b,tmpfs-size=64k,tmpfs-mode=1770")).toMatchObject({
    TmpfsOptions: { SizeBytes: 65536, Mode: 0o1770 },
  });
  expect(parseMount("type=image,src=busybox,dst=/b,image-subpath=bin")).toMatchObject({
    ImageOptions: { Subpath: "bin" },
  });
  expect(parseMount("type=bind,src=./x,dst=/b").Source).toBe(path.resolve("x"));
});

test("parseMount() refuses in Docker's words", () => {
  const cases: [string, string][] = [
    ["type=bind,src=/a", "target is required"],
    ["dst=/b,odd=1", "unknown option 'odd' in 'odd=1'"],
    ["dst=/b,type", "invalid field 'type' must be a key=value pair"],
    ["dst=/b,readonly=maybe", "invalid value for readonly: maybe"],
    ["type=bind,src=/a,dst=/b,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"],
    ["type=tmpfs,dst=/b,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"],
    ["type=bind,src=/a,dst=/b,bind-recursive=readonly", "requires 'readonly' to be specified"],
  ];
  for (const [text, message] of cases) expect(() => parseMount(text)).toThrow(message);
});

test("mountOptions() tells -v of a path, a name and a target apart", () => {
  const argv = ["-v", "/data", "-v", "name:/a", "-v", "./x:/b:ro", "--volumes-from", "c:ro"];
  const { flags } = parseFlags(argv, { flags: MOUNT_FLAGS });
  expect(mountOptions(flags)).toEqual({
    volumes: { "/data": {} },
    host: { Binds: ["name:/a", `${path.resolve("x")}:/b:ro`], VolumesFrom: ["c:ro"] },
  });
});
