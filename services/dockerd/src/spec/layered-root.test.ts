import { afterAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { lsetxattr, makedev, mknod, S_IFCHR, S_IFIFO } from "@longshore/syscalls";
import { layersOf, readLayeredFile, readUserFiles } from "./layered-root.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "layers-"));
afterAll(() => fs.rmSync(root, { recursive: true }));
const [upper, middle, lower] = ["upper", "middle", "lower"].map((name) => path.join(root, name)) as [
  string,
  string,
  string,
];
fs.mkdirSync(path.join(upper, "etc"), { recursive: true });
fs.mkdirSync(path.join(middle, "etc"), { recursive: true });
fs.mkdirSync(path.join(lower, "etc"), { recursive: true });
fs.writeFileSync(path.join(lower, "etc/passwd"), "from lower");
fs.writeFileSync(path.join(lower, "etc/group"), "group of lower");
fs.writeFileSync(path.join(middle, "etc/passwd"), "from middle");
fs.writeFileSync(path.join(root, "secret"), "of the host");
const layers = [upper, middle, lower];

test("layersOf() takes the directories out of overlay options", () => {
  const options = ["workdir=/w", "upperdir=/u", "lowerdir=/a:/b"];
  expect(layersOf([{ type: "overlay", source: "overlay", target: "", options }])).toEqual(["/u", "/a", "/b"]);
  expect(layersOf([{ type: "bind", source: "/s", target: "", options: [] }])).toEqual(["/s"]);
});

test("readLayeredFile() finds the uppermost file", () => {
  expect(readLayeredFile(layers, "/etc/passwd")).toBe("from middle");
  expect(readLayeredFile(layers, "/etc/group")).toBe("group of lower");
  expect(readLayeredFile(layers, "/etc/nothing")).toBeUndefined();
});

test("readLayeredFile() follows links inside the root only", () => {
  fs.symlinkSync("../../../../../../../../../etc/group", path.join(upper, "etc/link"));
  fs.symlinkSync(path.join(root, "secret"), path.join(upper, "etc/escape"));
  fs.symlinkSync("loop", path.join(upper, "etc/loop"));
  expect(readLayeredFile(layers, "/etc/link")).toBe("group of lower");
  expect(readLayeredFile(layers, "/etc/escape")).toBeUndefined();
  expect(readLayeredFile(layers, "/etc/loop")).toBeUndefined();
});

test("readLayeredFile() goes through no layer's link in the place of a directory", () => {
  const evil = path.join(root, "evil");
  fs.mkdirSync(evil);
  fs.symlinkSync(path.join(lower, "etc"), path.join(evil, "etc"));
  expect(readLayeredFile([upper, evil], "/etc/passwd")).toBeUndefined();
});

test("readLayeredFile() opens no FIFO and no device, reads no file without end, and follows no link to the host", () => {
  const hostile = path.join(root, "hostile");
  fs.mkdirSync(path.join(hostile, "etc"), { recursive: true });
  mknod(path.join(hostile, "etc/fifo"), S_IFIFO | 0o666);
  mknod(path.join(hostile, "etc/zero"), S_IFCHR | 0o666, makedev(1, 5));
  fs.symlinkSync("/dev/zero", path.join(hostile, "etc/to-zero"));
  fs.symlinkSync(path.join(root, "secret"), path.join(hostile, "etc/to-host"));
  fs.writeFileSync(path.join(hostile, "etc/large"), "");
  fs.truncateSync(path.join(hostile, "etc/large"), 400e6);
  for (const name of ["fifo", "zero", "to-zero", "to-host", "large"])
    expect(readLayeredFile([hostile, lower], `/etc/${name}`)).toBeUndefined();
});

test("readLayeredFile() finds nothing below an opaque directory or a whiteout", () => {
  const opaque = path.join(root, "opaque");
  fs.mkdirSync(path.join(opaque, "etc"), { recursive: true });
  expect(readLayeredFile([opaque, lower], "/etc/passwd")).toBe("from lower");
  lsetxattr(path.join(opaque, "etc"), "trusted.overlay.opaque", Buffer.from("y"));
  expect(readLayeredFile([opaque, lower], "/etc/passwd")).toBeUndefined();
  const whiteout = path.join(root, "whiteout");
  fs.mkdirSync(whiteout);
  mknod(path.join(whiteout, "etc"), S_IFCHR);
  expect(readLayeredFile([whiteout, lower], "/etc/passwd")).toBeUndefined();
});

test("readUserFiles() reads only the container's files while a directory is exchanged with a link to the host", async () => {
  const raced = path.join(root, "raced");
  fs.mkdirSync(path.join(raced, "etc"), { recursive: true });
  fs.mkdirSync(path.join(root, "host-etc"));
  fs.writeFileSync(path.join(root, "host-etc/passwd"), "of the host");
  fs.writeFileSync(path.join(raced, "etc/passwd"), "of the container");
  fs.symlinkSync(path.join(root, "host-etc"), path.join(raced, "trap"));
  // 316: renameat2, 2: RENAME_EXCHANGE.
  const program =
    'print "on\\n"; close(STDOUT); while (1) { syscall(316, -100, $ARGV[0], -100, $ARGV[1], 2) }';
  const pair = [path.join(raced, "etc"), path.join(raced, "trap")];
  const child = spawn("perl", ["-e", program, ...pair], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const seen = new Set<string>();
    for (let n = 0; n < 3000; n++) seen.add(readUserFiles([raced]).passwd);
    seen.delete("");
    expect([...seen]).toEqual(["of the container"]);
  } finally {
    child.kill("SIGKILL");
  }
});

test("readUserFiles() does not wait at a FIFO that is exchanged with the file between two calls", async () => {
  const raced = path.join(root, "fifo-raced");
  const [file, fifo] = [path.join(raced, "etc/passwd"), path.join(raced, "trap")];
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, "own");
  mknod(fifo, S_IFIFO | 0o600);
  const program =
    'print "on\\n"; close(STDOUT); while (1) { syscall(316, -100, $ARGV[0], -100, $ARGV[1], 2) }';
  const attack = spawn("perl", ["-e", program, file, fifo], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => attack.stdout.once("data", resolve));
    // In a process of its own, which is ended when it waits.
    const module = JSON.stringify(path.join(import.meta.dirname, "layered-root.ts"));
    const script = `import { readUserFiles } from ${module};
      for (let n = 0; n < 20000; n++) readUserFiles([${JSON.stringify(raced)}]);`;
    const reader = Bun.spawn([process.execPath, "-e", script], { timeout: 15_000, killSignal: "SIGKILL" });
    expect(await reader.exited).toBe(0);
  } finally {
    attack.kill("SIGKILL");
  }
}, 20_000);
