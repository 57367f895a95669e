/** The command line: flags, formats, words and exit codes, beside the original's where they don't depend on the version. */
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { it, missing, Playground, runc, skipped } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());
afterEach(() => playground.clear());

const original = "/usr/sbin/runc";
const sideBySide = missing || !fs.existsSync(original) ? test.skip : test;
if (!missing && !fs.existsSync(original)) skipped(`the command line beside ${original}, which is missing`);

interface Outcome {
  code: number;
  /** First line; the rest is help, which differs. */
  first: string;
  message: string;
}

/** A container, called `c` on the command line, that one of the two runtimes has made. */
class OtherContainer implements Disposable {
  readonly #program: string;
  readonly #root: string;
  readonly #id = playground.id();

  constructor(program: string) {
    this.#program = program;
    this.#root = path.join(playground.dir, `root-${this.#id}`);
    playground.write(
      playground.config({
        process: { args: ["sleep", "1000"] },
        linux: { cgroupsPath: playground.groupOf(this.#id) },
      }),
    );
    const code = this.#run(["run", "--detach", "--bundle", playground.bundle, this.#id]);
    if (code !== 0) throw new Error(`${program} run ended with ${code}`);
  }

  outcome(args: string[]): Outcome {
    return outcome(
      this.#program,
      args.map((arg) => (arg === "c" ? this.#id : arg)),
      { root: this.#root, hide: this.#id },
    );
  }

  [Symbol.dispose](): void {
    this.#run(["delete", "--force", this.#id]);
  }

  // With nothing to read: the container would keep it open.
  #run(args: string[]): number {
    const command = [this.#program, "--root", this.#root, ...args];
    return Bun.spawnSync(command, { stdio: ["ignore", "ignore", "ignore"] }).exitCode;
  }
}

/** What a runc says; its own path and the time are taken out, and so is an id. */
function outcome(
  program: string,
  args: string[],
  { root = path.join(playground.dir, "empty"), hide = program } = {},
): Outcome {
  const result = Bun.spawnSync([program, "--root", root, ...args], { stdin: "ignore", timeout: 10_000 });
  const stderr = result.stderr.toString().replaceAll(program, "runc").replaceAll(hide, "c");
  const last = stderr.trim().split("\n").at(-1) ?? "";
  return {
    code: result.exitCode,
    first: result.stdout.toString().split("\n")[0] ?? "",
    message: (/msg=(.*)$/.exec(last)?.[1] ?? last).replace(/\\n"$/, '"'),
  };
}

sideBySide.each([
  "nosuch",
  "help nosuch",
  "kill",
  "kill a b c",
  "kill --bad a",
  "kill nosuch NOSUCHSIGNAL",
  "start",
  "start nosuch",
  "state nosuch",
  "state ../escape",
  "delete nosuch",
  "delete --force nosuch",
  "pause nosuch",
  "resume nosuch",
  "events nosuch",
  "events --interval soon nosuch",
  "events --stats=maybe nosuch",
  "update --pids-limit many nosuch",
  "update --pids-limit",
  "update nosuch",
  "ps nosuch",
  "ps",
  "list",
  "list -q",
  "list --format json",
  "list --format yaml",
  "list extra",
  "exec nosuch true",
  "create --bundle /nonexistent a",
  "exec -g staff nosuch true",
  "exec --preserve-fds many nosuch true",
  "checkpoint nosuch",
  "--log-format yaml list",
  "--log /nonexistent/log list",
  "--systemd-cgroup list",
])("%s ends as with the original", (line) => {
  const args = line.split(" ");
  expect(outcome(runc, args)).toEqual(outcome(original, args));
});

describe("with a container that runs", () => {
  sideBySide.each([
    "kill c 99",
    "kill c -1",
    "kill c FOO",
    "update --resources /nonexistent c",
    "update --cpu-share 1 c",
    "update --cpu-quota many c",
    "exec c nosuch",
    "exec c /nosuch",
    "exec c /etc/passwd",
    "exec -d -t c true",
    "exec --console-socket /nonexistent c true",
    "exec --cwd /nonexistent c true",
    "exec c sh -c 'exit 77'",
    "exec c sh -c 'kill -9 $$'",
    "start c",
    "resume c",
    "delete c",
  ])("%s ends as with the original", (line) => {
    const outcomes = [runc, original].map((program) => {
      using container = new OtherContainer(program);
      const args = [...line.matchAll(/'([^']*)'|\S+/g)].map(([word, quoted]) => quoted ?? word);
      return container.outcome(args);
    });
    expect(outcomes[0]).toEqual(outcomes[1] as Outcome);
  });
});

it("--help explains every command and each of its flags", () => {
  const commands = [...playground.must("--help").matchAll(/^ {3}([a-z]+) {2,}/gm)].map(
    ([, name]) => name ?? "",
  );
  expect(commands.length).toBeGreaterThan(16);
  for (const name of commands) {
    const help = playground.must(name, "--help");
    expect(help).toStartWith(`NAME:\n   runc ${name} - `);
    expect(playground.must("help", name)).toBe(help);
    // A flag without a word about it would be a line that ends after its name.
    for (const line of (help.split("OPTIONS:\n")[1] ?? "").trimEnd().split("\n").filter(Boolean)) {
      expect(line).toMatch(/^ {3}--[a-z0-9-]+( value)?(, -[a-z]( value)?)? {2,}\S/);
    }
  }
  expect(playground.must("--version")).toMatch(/^runc version \S+\n(commit: \S+\n)?spec: 1\.\d\.\d\n$/);
});

it("features is what the specification says it is, and names what this runtime does", () => {
  const features = JSON.parse(playground.must("features"));
  expect(features.ociVersionMin).toBe("1.0.0");
  expect(features.hooks).toContain("createContainer");
  expect(features.mountOptions).toEqual(expect.arrayContaining(["rro", "idmap", "tmpcopyup", "rbind"]));
  const { linux } = features;
  expect(linux.namespaces).toEqual(["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
  expect(linux.cgroup).toEqual({ v1: true, v2: true, systemd: true, systemdUser: false, rdma: true });
  expect(linux.seccomp.actions).toContain("SCMP_ACT_NOTIFY");
  expect(linux.seccomp.archs).toContain("SCMP_ARCH_X32");
  expect(linux.seccomp.knownFlags).toContain("SECCOMP_FILTER_FLAG_LOG");
  expect(linux.intelRdt.schemata).toBe(true);
  expect(linux.memoryPolicy.modes).toContain("MPOL_PREFERRED_MANY");
  expect(linux.netDevices.enabled).toBe(true);
});

it("list, state and ps show a container in the original's columns and members", () => {
  using created = playground.start({ annotations: { colour: "blue" } });
  const { id } = created;
  const state = JSON.parse(playground.must("state", id));
  expect(Object.keys(state)).toEqual([
    "ociVersion",
    "id",
    "pid",
    "status",
    "bundle",
    "rootfs",
    "created",
    "annotations",
    "owner",
  ]);
  const [header, row] = playground.must("list").split("\n");
  expect(header).toMatch(/^ID {10}PID {9}STATUS {6}BUNDLE +CREATED +OWNER$/);
  expect(row).toContain(`${state.pid}`);
  expect(playground.must("list", "-q")).toBe(`${id}\n`);
  expect(JSON.parse(playground.must("list", "--format", "json"))).toEqual([{ ...state, owner: "root" }]);
  expect(JSON.parse(playground.must("ps", "--format", "json", id))).toEqual([state.pid]);
  const table = playground.must("ps", id).trim().split("\n");
  expect(table[0]).toMatch(/^UID +PID/);
  expect(table).toHaveLength(2);
  expect(playground.must("ps", id, "-o", "pid,comm").trim().split("\n")[1]).toContain("sleep");
  expect(playground.command(["ps", id, "-o", "comm"]).stderr).toContain(
    "couldn't find PID field in ps output",
  );
});

it("kill takes names in any form, numbers, and --all; what has ended is said to have", () => {
  const script = 'trap "exit 21" USR1; trap "exit 22" HUP; while true; do sleep 0.02; done';
  for (const [signal, code] of [
    ["SIGUSR1", 21],
    ["usr1", 21],
    ["10", 21],
    ["Hup", 22],
  ] as const) {
    const id = playground.id();
    playground.write(
      playground.config({
        process: { args: ["sh", "-c", `echo > /ready; ${script}`] },
        linux: { cgroupsPath: playground.groupOf(id) },
      }),
    );
    const ready = path.join(playground.rootfs, "ready");
    fs.rmSync(ready, { force: true });
    const child = Bun.spawnSync(
      [
        "sh",
        "-c",
        `"$0" --root ${playground.root} run --bundle ${playground.bundle} ${id} </dev/null >/dev/null 2>&1 & p=$!; while [ ! -e ${ready} ]; do sleep 0.02; done; "$0" --root ${playground.root} kill ${id} ${signal}; wait $p`,
        runc,
      ],
      { timeout: 15_000 },
    );
    expect(child.exitCode).toBe(code);
  }
  using created = playground.start();
  playground.must("kill", "--all", created.id, "KILL");
  while (JSON.parse(playground.must("state", created.id)).status !== "stopped") Bun.sleepSync(10);
  const again = playground.command(["kill", created.id, "KILL"]);
  expect(again.stderr).toContain("container not running");
  expect(again.code).toBe(1);
  expect(playground.command(["kill", "--all", created.id, "KILL"]).code).toBe(0);
});

it("a state that isn't ours is refused by name, and list goes on with the others", () => {
  using created = playground.create();
  const directory = path.join(playground.root, "theirs");
  fs.mkdirSync(directory);
  const file = path.join(directory, "state.json");
  fs.writeFileSync(file, '{"id":"theirs","init_process_pid":1,"config":{}}');
  try {
    for (const args of [["state"], ["kill"], ["delete"], ["delete", "--force"]]) {
      const { code, stderr } = playground.command([...args, "theirs"]);
      expect(stderr).toContain("container theirs was made by another runtime");
      expect(code).toBe(1);
    }
    fs.writeFileSync(file, '{"id":"thei');
    expect(playground.command(["state", "theirs"]).stderr).toContain(
      "the state of container theirs can't be read",
    );
    const { stdout, stderr } = playground.command(["list", "-q"]);
    expect(stdout).toBe(`${created.id}\n`);
    expect(stderr).toContain("load container theirs: ");
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

it("a create that was killed before it had a process is removed by delete --force, and nobody is signalled", () => {
  const directory = path.join(playground.root, "half");
  using created = playground.create();
  const state = JSON.parse(fs.readFileSync(path.join(playground.root, created.id, "state.json"), "utf8"));
  fs.mkdirSync(directory);
  const half = { ...state, id: "half", pid: 0, startTime: "", group: [] };
  fs.writeFileSync(path.join(directory, "state.json"), JSON.stringify(half));
  fs.writeFileSync(path.join(directory, "state.json.part"), "{");
  expect(JSON.parse(playground.must("state", "half")).status).toBe("creating");
  expect(playground.command(["kill", "half", "KILL"]).stderr).toContain("container not running");
  expect(playground.command(["start", "half"]).code).toBe(1);
  playground.must("delete", "--force", "half");
  expect(fs.existsSync(directory)).toBe(false);
});

it("the log has lines of text or JSON; with --debug it says more", () => {
  const log = path.join(playground.dir, "log");
  playground.command(["start", "nosuch"], { global: ["--log", log] });
  expect(fs.readFileSync(log, "utf8")).toMatch(
    /^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=error msg="container does not exist"\n$/,
  );
  fs.rmSync(log);
  playground.command(["start", "nosuch"], { global: ["--debug", "--log", log, "--log-format", "json"] });
  const lines = fs
    .readFileSync(log, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.map(({ level }) => level)).toEqual(["debug", "error"]);
  const id = playground.id();
  playground.write(playground.config({ process: { args: ["true"] } }));
  const unwritable = playground.command(["create", "--bundle", playground.bundle, id], {
    global: ["--log", "/nonexistent/log"],
  });
  expect(unwritable.stderr).toMatch(
    /^time=\S+ level=error msg="open \/nonexistent\/log: no such file or directory"\n$/,
  );
  expect(playground.command(["state", id]).stderr).toContain("container does not exist");
});

it("spec writes once, and with --rootless what a user may do", () => {
  const bundle = path.join(playground.dir, "spec");
  fs.mkdirSync(bundle);
  playground.must("spec", "--bundle", bundle, "--rootless");
  const { linux, mounts } = JSON.parse(fs.readFileSync(path.join(bundle, "config.json"), "utf8"));
  expect(linux.namespaces).toContainEqual({ type: "user" });
  expect(linux.namespaces).not.toContainEqual({ type: "network" });
  expect(linux.uidMappings).toEqual([{ containerID: 0, hostID: 0, size: 1 }]);
  expect(linux.resources).toBeUndefined();
  expect(JSON.stringify(mounts)).not.toContain("gid=");
  const again = playground.command(["spec", "--bundle", bundle]);
  expect(again.stderr).toContain("File config.json exists. Remove it first");
  expect(again.code).toBe(1);
});

const criu = Bun.which("criu");
const criuWorks = criu !== null && Bun.spawnSync([criu, "check"]).success;
if (!missing && !criuWorks)
  skipped("checkpoint and restore to the end: criu is missing, or can't work on this kernel");

it("checkpoint and restore say what they need", () => {
  const images = path.join(playground.dir, "images");
  using created = playground.create();
  const checkpoint = (...flags: string[]) =>
    playground.command(["checkpoint", "--image-path", images, ...flags, created.id], {
      global: ["--criu", "no-such-criu"],
    });
  expect(checkpoint().stderr).toContain("Container cannot be checkpointed in created state");
  playground.must("start", created.id);
  expect(checkpoint().stderr).toContain(
    'CRIU version check failed: exec: \\"no-such-criu\\": executable file not found in $PATH',
  );
  expect(checkpoint("--page-server", "nowhere").stderr).toContain("Use --page-server ADDRESS:PORT");
  expect(checkpoint("--manage-cgroups-mode", "most").stderr).toContain("invalid manage-cgroups-mode value");
  expect(checkpoint("--empty-ns", "pid").stderr).toContain('namespace \\"pid\\" is not supported');
  expect(checkpoint("--parent-path", "/abs").stderr).toContain("--parent-path must be relative");
  expect(JSON.parse(playground.must("state", created.id)).status).toBe("running");
  fs.mkdirSync(images, { recursive: true });
  fs.writeFileSync(path.join(images, "descriptors.json"), "[]");
  const restored = playground.command(
    ["restore", "--image-path", images, "--bundle", playground.bundle, "--detach", "again"],
    { global: ["--criu", "no-such-criu"] },
  );
  expect(restored.stderr).toContain("container's cgroup is not empty");
  playground.must("delete", "--force", created.id);
  const other = playground.command(
    ["restore", "--image-path", images, "--bundle", playground.bundle, "--detach", "again"],
    { global: ["--criu", "no-such-criu"] },
  );
  expect(other.stderr).toContain("executable file not found in $PATH");
  const unpivoted = playground.command([
    "restore",
    "--image-path",
    images,
    "--bundle",
    playground.bundle,
    "--no-pivot",
    "again",
  ]);
  expect(unpivoted.stderr).toContain("--no-pivot is not supported");
  expect(playground.leftovers()).toEqual([]);
});

(criuWorks ? it : test.skip)("a container goes on after checkpoint and restore", () => {
  const images = path.join(playground.dir, "images");
  const created = playground.start({
    process: { args: ["sh", "-c", "i=0; while true; do i=$((i+1)); sleep 0.1; done"] },
  });
  playground.must("checkpoint", "--image-path", images, created.id);
  expect(playground.command(["state", created.id]).stderr).toContain("container does not exist");
  playground.must("restore", "--image-path", images, "--bundle", playground.bundle, "--detach", created.id);
  expect(JSON.parse(playground.must("state", created.id)).status).toBe("running");
  playground.must("delete", "--force", created.id);
});
