import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { S_IFDIR, S_IFIFO } from "@longshore/syscalls";
import { copyTree } from "./copy-tree.ts";
import { packTree } from "./pack-tree.ts";
import { RootedTree } from "./rooted-tree.ts";
import { tarBlocks } from "./testing.ts";
import { unpackTree } from "./unpack-tree.ts";

// A process exchanges names in the tree while it is worked on: with links to files of the host, and with a FIFO.

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "exchange-race-"));
const root = path.join(dir, "root");
const canary = path.join(dir, "canary");
const TRIES = 300;

beforeAll(() => fs.mkdirSync(root));
beforeEach(() => {
  fs.rmSync(canary, { recursive: true, force: true });
  fs.mkdirSync(canary);
  fs.writeFileSync(path.join(canary, "secret"), "of the host", { mode: 0o600 });
  fs.chmodSync(canary, 0o700);
  fs.rmSync(root, { recursive: true });
  fs.mkdirSync(root);
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

/** Replace each name by a link to a file of the host as soon as something else has it. */
function attack(names: Record<string, string>): ChildProcess & Disposable {
  const pairs = Object.entries(names).flatMap(([name, target]) => {
    const trap = path.join(root, `trap-${path.basename(name)}`);
    fs.symlinkSync(target, trap);
    return [path.join(root, name), trap];
  });
  // 316: renameat2, 2: RENAME_EXCHANGE.
  const program = `my @p = @ARGV; print "on\\n"; close(STDOUT);
    while (1) { for (my $i = 0; $i < @p; $i += 2) { syscall(316, -100, $p[$i], -100, $p[$i + 1], 2) } }`;
  const child = spawn("perl", ["-e", program, ...pairs], { stdio: ["ignore", "pipe", "inherit"] });
  return Object.assign(child, { [Symbol.dispose]: () => void child.kill("SIGKILL") });
}

/** Free the names, and have a trap for each again. The attack goes on meanwhile. */
function reset(names: Record<string, string>): void {
  for (const [name, target] of Object.entries(names)) {
    for (let attempt = 0; attempt < 100; attempt++) {
      try {
        for (const one of [name, `trap-${name}`])
          fs.rmSync(path.join(root, one), { recursive: true, force: true });
        fs.symlinkSync(target, path.join(root, `trap-${name}`));
        break;
      } catch {
        // It was exchanged just now.
      }
    }
  }
}

const running = (child: ChildProcess) => new Promise((resolve) => child.stdout?.once("data", resolve));

function expectUntouched(): void {
  const modes = [canary, path.join(canary, "secret")].map((file) =>
    (fs.statSync(file).mode & 0o7777).toString(8),
  );
  expect(modes).toEqual(["700", "600"]);
  expect(fs.readdirSync(canary)).toEqual(["secret"]);
  expect(fs.statSync(path.join(canary, "secret")).uid).toBe(0);
}

/** What the races may end with: a name that is taken, or leads to something else by now. */
async function lost(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Error && /ESTALE|EEXIST|ENOENT|ENOTDIR|ELOOP|ENOTEMPTY|gone/.test(String(error))))
      throw error;
  }
}

test("unpackTree() changes no mode and no owner of the host while its entries are exchanged with links", async () => {
  const entries = [
    tarBlocks({ name: "d/", type: "5", mode: 0o6777, uid: 7 }),
    tarBlocks({ name: "p", type: "6", mode: 0o6777, uid: 7 }),
    tarBlocks({ name: "f", content: "x", mode: 0o6777, uid: 7 }),
    Buffer.alloc(1024),
  ];
  const secret = path.join(canary, "secret");
  using child = attack({ d: canary, p: secret, f: secret });
  await running(child);
  using tree = new RootedTree(root);
  for (let n = 0; n < TRIES; n++) {
    reset({ d: canary, p: secret, f: secret });
    await lost(() => unpackTree(tree, "", stream(entries), { keepKinds: false, owner: undefined }));
  }
  expectUntouched();
}, 60_000);

test("copyTree() changes no mode of the host while its target is exchanged with links", async () => {
  const image = path.join(dir, "image");
  fs.mkdirSync(path.join(image, "d"), { recursive: true });
  for (const name of ["f", "d/g"]) fs.writeFileSync(path.join(image, name), "x");
  for (const name of ["f", "d/g", "d"]) fs.chmodSync(path.join(image, name), 0o6777);
  const secret = path.join(canary, "secret");
  using child = attack({ d: canary, f: secret });
  await running(child);
  for (let n = 0; n < TRIES; n++) {
    reset({ d: canary, f: secret });
    await lost(() => copyTree(image, root));
  }
  expectUntouched();
}, 60_000);

test("packTree() packs nothing of the host while its source is exchanged with links", async () => {
  fs.mkdirSync(path.join(root, "d"));
  fs.writeFileSync(path.join(root, "d/secret"), "of the container");
  fs.writeFileSync(path.join(root, "f"), "of the container");
  using child = attack({ d: canary, f: path.join(canary, "secret") });
  await running(child);
  using tree = new RootedTree(root);
  for (let n = 0; n < TRIES; n++) {
    const pieces: Buffer[] = [];
    await lost(async () => {
      for await (const piece of packTree(tree, "", "")) pieces.push(Buffer.from(piece));
    });
    expect(Buffer.concat(pieces).includes("of the host")).toBe(false);
    tree.forgetDirectories();
  }
}, 60_000);

test("openFile() and readFile() refuse FIFOs, devices, links and too much, and do not wait for a lease", () => {
  using tree = new RootedTree(root);
  const at = (base: string) => ({ dirfd: tree.rootFd, base });
  tree.mknod(at("fifo"), S_IFIFO | 0o600, 0);
  fs.symlinkSync("/dev/zero", path.join(root, "zero"));
  fs.symlinkSync(path.join(canary, "secret"), path.join(root, "link"));
  fs.writeFileSync(path.join(root, "sparse"), "");
  fs.truncateSync(path.join(root, "sparse"), 4e8);
  fs.writeFileSync(path.join(root, "text"), "text");
  for (const name of ["fifo", "zero", "link", "sparse", "none"])
    expect({ name, content: tree.readFile(at(name), 1024) }).toEqual({ name, content: undefined });
  expect(tree.readFile(at("text"), 4)?.toString()).toBe("text");
  expect(tree.readFile(at("text"), 3)).toBeUndefined();
});

test("openFile() does not wait for a process that holds a lease", async () => {
  const file = path.join(root, "leased");
  fs.writeFileSync(file, "x");
  // 1024: F_SETLEASE, 1: F_WRLCK.
  const program = `use Fcntl; $SIG{IO} = "IGNORE"; open(my $f, "+<", $ARGV[0]) or die; fcntl($f, 1024, 1) or die "lease: $!";
    $| = 1; print "on\\n"; sleep 100`;
  const child = spawn("perl", ["-e", program, file], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await running(child);
    using tree = new RootedTree(root);
    const began = performance.now();
    expect(() => tree.openFile({ dirfd: tree.rootFd, base: "leased" })).toThrow("EAGAIN");
    expect(performance.now() - began).toBeLessThan(2000);
  } finally {
    child.kill("SIGKILL");
  }
});

test("withNode() stays on the file that it opened, and refuses one of another type", () => {
  using tree = new RootedTree(root);
  fs.mkdirSync(path.join(root, "d"));
  fs.symlinkSync(canary, path.join(root, "link"));
  const place = { dirfd: tree.rootFd, base: "d" };
  tree.withNode(place, S_IFDIR, (fd) => {
    fs.renameSync(path.join(root, "d"), path.join(root, "moved"));
    fs.symlinkSync(canary, path.join(root, "d"));
    tree.chmodOf(fd, 0o1777);
    tree.chownOf(fd, 3, 4);
    tree.setXattrOf(fd, "trusted.mark", "m");
    tree.utimesOf(fd, 0n, 1_500_000_000n);
    expect([...tree.xattrsOfNode(fd)]).toContainEqual(["trusted.mark", "m"]);
  });
  const { mode, uid, gid, mtimeMs } = fs.statSync(path.join(root, "moved"));
  expect([mode & 0o7777, uid, gid, mtimeMs]).toEqual([0o1777, 3, 4, 1500]);
  expectUntouched();
  expect(() => tree.withNode(place, S_IFDIR, () => undefined)).toThrow("ESTALE");
  const link = { dirfd: tree.rootFd, base: "link" };
  tree.withNode(link, 0o120000, (fd) => {
    tree.setXattrOf(fd, "trusted.mark", "link");
    expect([...tree.xattrsOfNode(fd)]).toContainEqual(["trusted.mark", "link"]);
    tree.chownOf(fd, 5, 6);
    tree.utimesOf(fd, 0n, 0n);
  });
  expect(fs.lstatSync(path.join(root, "link")).uid).toBe(5);
  expectUntouched();
});

async function* stream(pieces: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* pieces;
}
