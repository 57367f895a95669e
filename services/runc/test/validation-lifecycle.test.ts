/** runtime.md and runtime-linux.md of the runtime specification: state, operations in each state, life-cycle, hooks, annotations. */
import { afterAll, afterEach, beforeEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually } from "@longshore/testkit";
import { type Created, controllers, it, type Patch, Playground, runc } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());

const trace = path.join(playground.dir, "trace");
beforeEach(() => fs.rmSync(trace, { force: true }));
afterEach(() => playground.clear());
const traced = () => (fs.existsSync(trace) ? fs.readFileSync(trace, "utf8").trim().split("\n") : []);

const HOOKS = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;
type HookName = (typeof HOOKS)[number];

/** In the container these run; the others where runc does. */
const INSIDE: readonly HookName[] = ["createContainer", "startContainer"];

/** A hook that is a script of the host's shell, or of the container's for startContainer. */
const hook = (name: HookName, script: string, more: Patch = {}): Patch =>
  name === "startContainer"
    ? { path: "/bin/busybox", args: ["sh", "-c", script], ...more }
    : { path: "/bin/sh", args: ["sh", "-c", script], ...more };

/** Where hooks write: in the container the same place, bound. */
const TRACE_MOUNT: Patch = {
  mounts: [
    ...playground.config().mounts,
    { destination: playground.dir, type: "bind", source: playground.dir, options: ["rbind"] },
  ],
};

const hooksThat = (script: (name: HookName) => string, names: readonly HookName[] = HOOKS): Patch => ({
  ...TRACE_MOUNT,
  hooks: Object.fromEntries(names.map((name) => [name, [hook(name, script(name))]])),
});

/** A container in each state. */
const STATES: Record<string, () => Created> = {
  created: () => playground.create(),
  running: () => playground.start(),
  paused: () => {
    const container = playground.start();
    playground.must("pause", container.id);
    return container;
  },
  stopped: () => {
    const container = playground.start({ process: { args: ["true"] } });
    waitUntilStopped(container);
    return container;
  },
};

function waitUntilStopped(container: Created): void {
  const deadline = Date.now() + 5000;
  while (container.state().status !== "stopped") {
    if (Date.now() > deadline) throw new Error(`${container.id} does not stop`);
    Bun.sleepSync(2);
  }
}

/** The first process of a namespace doesn't get a signal that it doesn't handle (yet): it would be lost. */
function waitUntilHandles(container: Created, signal: number): void {
  const { pid } = container;
  const deadline = Date.now() + 5000;
  for (;;) {
    const [, caught = "0"] = /^SigCgt:\s*(\w+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    if (((BigInt(`0x${caught}`) >> BigInt(signal - 1)) & 1n) === 1n) return;
    if (Date.now() > deadline) throw new Error(`${container.id} does not handle signal ${signal}`);
    Bun.sleepSync(2);
  }
}

const OPERATIONS: Record<string, (id: string) => string[]> = {
  create: (id) => ["create", "--bundle", playground.bundle, id],
  start: (id) => ["start", id],
  kill: (id) => ["kill", id, "0"],
  delete: (id) => ["delete", id],
  pause: (id) => ["pause", id],
  resume: (id) => ["resume", id],
  exec: (id) => ["exec", id, "true"],
  // Of version 2 not every controller need be there.
  update: (id) => ["update", ...(controllers.includes("pids") ? ["--pids-limit", "100"] : []), id],
  ps: (id) => ["ps", id],
};

/** What each operation answers in each state: nothing, or why not. The words are what engines look for. */
const ANSWERS: Record<string, Record<string, RegExp | undefined>> = {
  create: {
    created: /container with given ID already exists/,
    running: /container with given ID already exists/,
    paused: /container with given ID already exists/,
    stopped: /container with given ID already exists/,
  },
  start: {
    created: undefined,
    running: /cannot start an already running container/,
    paused: /cannot start a container in the paused state/,
    stopped: /cannot start a container that has stopped/,
  },
  kill: { created: undefined, running: undefined, paused: undefined, stopped: /container not running/ },
  delete: {
    created: undefined,
    running: /is not stopped: running/,
    paused: /is not stopped: paused/,
    stopped: undefined,
  },
  pause: {
    running: undefined,
    paused: /container (already paused|not running)/,
    stopped: /container not running/,
  },
  resume: {
    created: /container not paused/,
    running: /container not paused/,
    paused: undefined,
    stopped: /container not paused/,
  },
  exec: {
    running: undefined,
    paused: /cannot exec in a paused container/,
    stopped: /cannot exec in a stopped container/,
  },
  update: { created: undefined, running: undefined, paused: undefined, stopped: /container not running/ },
  ps: { created: undefined, running: undefined, paused: undefined, stopped: undefined },
};

for (const [operation, answers] of Object.entries(ANSWERS)) {
  for (const [state, refusal] of Object.entries(answers)) {
    it(`${operation} of a ${state} container ${refusal ? "is refused" : "is done"}`, () => {
      using container = STATES[state]?.();
      if (!container || !OPERATIONS[operation]) throw new Error("no such row");
      const { code, stderr } = playground.command(OPERATIONS[operation](container.id));
      if (refusal === undefined) {
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      } else {
        expect(code).not.toBe(0);
        expect(stderr).toMatch(refusal);
        // It has changed nothing.
        expect(container.state().status).toBe(state);
      }
    });
  }
}

it.each([
  [["state", "nobody"]],
  [["start", "nobody"]],
  [["kill", "nobody"]],
  [["delete", "nobody"]],
  [["pause", "nobody"]],
  [["resume", "nobody"]],
  [["exec", "nobody", "true"]],
  [["update", "--pids-limit", "9", "nobody"]],
  [["ps", "nobody"]],
  [["events", "--stats", "nobody"]],
])("%j of a container that isn't there is refused", (args) => {
  const { code, stderr } = playground.command(args);
  expect(code).not.toBe(0);
  expect(stderr).toContain("container does not exist");
});

it.each(["", ".", "..", "a/b", "../escape", "a b", "ü", "\u0007"])("create refuses the id %j", (id) => {
  playground.write(playground.config());
  const { code, stderr } = playground.command(["create", "--bundle", playground.bundle, id]);
  expect(code).not.toBe(0);
  expect(stderr).toMatch(/container id cannot be empty|invalid container ID format|requires|argument/);
  expect(playground.leftovers()).toEqual([]);
});

it("state has what the specification asks for, in every state", () => {
  const annotations = { "org.example.key": "value", empty: "", ünïcode: "✓" };
  using container = playground.create({ annotations });
  const { pid } = container;
  const common = { ociVersion: expect.any(String), id: container.id, bundle: playground.bundle, annotations };
  expect(container.state()).toMatchObject({ ...common, status: "created", pid });
  expect(fs.readFileSync(`/proc/${pid}/stat`, "utf8")).toStartWith(`${pid} `);
  playground.must("start", container.id);
  expect(container.state()).toMatchObject({ ...common, status: "running", pid });
  playground.must("pause", container.id);
  expect(container.state()).toMatchObject({ ...common, status: "paused", pid });
  playground.must("resume", container.id);
  playground.must("kill", container.id, "KILL");
  waitUntilStopped(container);
  expect(container.state()).toMatchObject({ ...common, status: "stopped" });
});

it("config.json is read once: a change after create has no effect", () => {
  using container = playground.create({
    process: { args: ["sh", "-c", "echo before > /tmp/which; sleep 1000"] },
  });
  playground.write(playground.config({ process: { args: ["sh", "-c", "echo after > /tmp/which"] } }));
  playground.must("start", container.id);
  const which = path.join(playground.rootfs, "tmp/which");
  try {
    Bun.sleepSync(1);
    const deadline = Date.now() + 5000;
    while (!fs.existsSync(which) && Date.now() < deadline) Bun.sleepSync(2);
    expect(container.script("cat /tmp/which").stdout).toBe("before\n");
    playground.write("not json at all");
    expect(container.exec(["true"]).code).toBe(0);
  } finally {
    fs.rmSync(which, { force: true });
  }
});

it("create runs nothing of the user's before start", () => {
  using container = playground.create({ process: { args: ["touch", "/tmp/started"] } });
  const started = path.join(playground.rootfs, "tmp/started");
  expect(fs.existsSync(started)).toBe(false);
  playground.must("start", container.id);
  waitUntilStopped(container);
  expect(fs.existsSync(started)).toBe(true);
  fs.rmSync(started);
});

it("kill sends the signal that it was told, by name or number", () => {
  for (const signal of ["TERM", "SIGTERM", "15", "sigterm"]) {
    using container = playground.start({
      process: { args: ["sh", "-c", "trap 'exit 0' TERM; while :; do usleep 5000; done"] },
    });
    waitUntilHandles(container, 15);
    playground.must("kill", container.id, signal);
    waitUntilStopped(container);
  }
  using container = playground.start();
  for (const signal of ["NOPE", "SIGNOPE", "99", "-1", "1.5"]) {
    const { code, stderr } = playground.command(["kill", container.id, "--", signal]);
    expect(code).toBe(1);
    expect(stderr.length).toBeGreaterThan(0);
  }
  expect(container.state().status).toBe("running");
});

it.each([
  ["exits", ["sh", "-c", "exit 42"], 42],
  ["is killed", ["sh", "-c", "kill -9 $$"], 0],
  ["ends well", ["true"], 0],
] as const)("run gives the status of a process that %s", (_, args, code) => {
  const result = playground.run({ process: { args: [...args] } });
  // A signal that the first process of a namespace sends itself is lost.
  expect(result.code).toBe(code);
  expect(playground.leftovers()).toEqual([]);
});

it("run gives 128 + n when signal n has ended the process", async () => {
  const id = playground.id("killed");
  const linux = { cgroupsPath: playground.groupOf(id) };
  playground.write(playground.config({ process: { args: ["sleep", "1000"] }, linux }));
  const run = Bun.spawn([runc, "--root", playground.root, "run", "--bundle", playground.bundle, id], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  await eventually(() => playground.command(["state", id]).stdout.includes('"running"'));
  playground.must("kill", id, "KILL");
  expect(await run.exited).toBe(137);
  expect(playground.leftovers()).toEqual([]);
});

// Hooks
it("hooks run in the order of the life-cycle, those of a kind in the order in which they are listed", () => {
  const both = (name: HookName) => [
    hook(name, `echo ${name} 1 >> ${trace}`),
    hook(name, `echo ${name} 2 >> ${trace}`),
  ];
  using container = playground.create({
    ...TRACE_MOUNT,
    hooks: Object.fromEntries(HOOKS.map((name) => [name, both(name)])),
  });
  const twice = (...names: HookName[]) => names.flatMap((name) => [`${name} 1`, `${name} 2`]);
  expect(traced()).toEqual(twice("prestart", "createRuntime", "createContainer"));
  playground.must("start", container.id);
  expect(traced().slice(6)).toEqual(twice("startContainer", "poststart"));
  playground.must("kill", container.id, "KILL");
  waitUntilStopped(container);
  expect(traced()).toHaveLength(10);
  playground.must("delete", container.id);
  expect(traced().slice(10)).toEqual(twice("poststop"));
});

it("hooks get the state on stdin, with the status of the moment", () => {
  const id = playground.id("hooked");
  const annotations = { some: "thing" };
  using container = playground.create(
    { ...hooksThat((name) => `cat > ${trace}.${name}`), annotations },
    { id },
  );
  const { pid } = container;
  playground.must("start", id);
  playground.must("delete", "--force", id);
  const states = Object.fromEntries(
    HOOKS.map((name) => [name, JSON.parse(fs.readFileSync(`${trace}.${name}`, "utf8"))]),
  );
  const common = { ociVersion: expect.any(String), id, bundle: playground.bundle, annotations };
  for (const name of ["prestart", "createRuntime", "createContainer"]) {
    expect({ name, ...states[name] }).toMatchObject({ name, ...common, status: "creating", pid });
  }
  expect(states.startContainer).toMatchObject({ ...common, status: "created" });
  expect(states.poststart).toMatchObject({ ...common, status: "running", pid });
  expect(states.poststop).toMatchObject({ ...common, status: "stopped" });
});

it("hooks run where the specification says: createContainer and startContainer inside, the others outside", () => {
  using container = playground.create(
    hooksThat((name) => `for ns in mnt uts; do readlink /proc/self/ns/$ns; done > ${trace}.${name}`),
  );
  playground.must("start", container.id);
  const inside = ["mnt", "uts"].map((ns) => fs.readlinkSync(`/proc/${container.pid}/ns/${ns}`));
  playground.must("delete", "--force", container.id);
  const outside = ["mnt", "uts"].map((ns) => fs.readlinkSync(`/proc/self/ns/${ns}`));
  for (const name of HOOKS) {
    const seen = fs.readFileSync(`${trace}.${name}`, "utf8").trim().split("\n");
    expect({ name, seen }).toEqual({ name, seen: INSIDE.includes(name) ? inside : outside });
  }
});

it("hooks have their own args and env, and nothing of runc's", () => {
  playground.run({
    ...TRACE_MOUNT,
    hooks: {
      createRuntime: [
        hook("createRuntime", `{ echo "$0|$1|$A|$PATH"; env | wc -l; } > ${trace}`, {
          args: ["shell", "-c", `{ echo "$0|$1|$A"; env; } > ${trace}`, "zero", "o n e"],
          env: ["A=x y", "PATH=/usr/bin:/bin"],
        }),
      ],
    },
  });
  const [first, ...env] = traced();
  expect(first).toBe("zero|o n e|x y");
  // The shell adds PWD by itself.
  expect(env.filter((line) => !/^(PWD|SHLVL|_)=/.test(line)).sort()).toEqual(["A=x y", "PATH=/usr/bin:/bin"]);
});

it.each(["prestart", "createRuntime", "createContainer"] as const)(
  "a %s hook that fails ends create: the container is gone",
  (name) => {
    const { code, stderr } = playground.run({
      ...TRACE_MOUNT,
      hooks: {
        [name]: [hook(name, "echo because >&2; exit 7"), hook(name, `echo second >> ${trace}`)],
      },
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`${name} hook #0`));
    expect(traced()).not.toContain("second");
    expect(playground.leftovers()).toEqual([]);
  },
);

it("after a hook that fails in create, poststop hooks run", () => {
  for (const name of ["prestart", "createRuntime", "createContainer"] as const) {
    fs.rmSync(trace, { force: true });
    playground.run({
      ...TRACE_MOUNT,
      hooks: { [name]: [hook(name, "exit 7")], poststop: [hook("poststop", `echo poststop >> ${trace}`)] },
    });
    expect({ name, traced: traced() }).toEqual({ name, traced: ["poststop"] });
  }
});

it("a startContainer hook that fails ends the container before the user's process", () => {
  const { code } = playground.run({
    ...TRACE_MOUNT,
    process: { args: ["sh", "-c", `echo user >> ${trace}`] },
    hooks: { startContainer: [hook("startContainer", "exit 7")] },
  });
  expect(code).not.toBe(0);
  expect(traced()).toEqual([]);
  expect(playground.leftovers()).toEqual([]);
});

it("a poststop hook that fails is logged, the rest is done", () => {
  const { code, stderr } = playground.run({
    ...TRACE_MOUNT,
    hooks: { poststop: [hook("poststop", "exit 7"), hook("poststop", `echo second >> ${trace}`)] },
  });
  expect(code).toBe(0);
  expect(stderr).toMatch(/level=warning.*poststop/);
  expect(traced()).toEqual(["second"]);
  expect(playground.leftovers()).toEqual([]);
});

it("a hook that takes longer than its timeout has failed, and is gone", () => {
  const began = Date.now();
  const { code, stderr } = playground.run({
    ...TRACE_MOUNT,
    hooks: { createRuntime: [hook("createRuntime", `echo $$ > ${trace}; exec sleep 1000`, { timeout: 1 })] },
  });
  expect(code).toBe(1);
  expect(Date.now() - began).toBeLessThan(8000);
  expect(stderr).toMatch(/createRuntime hook #0.*/);
  expect(fs.existsSync(`/proc/${traced()[0]}`)).toBe(false);
  expect(playground.leftovers()).toEqual([]);
});

it.each([
  ["a path that isn't absolute", { path: "bin/true" }, /hook/],
  ["a program that isn't there", { path: "/no/such/hook" }, /no\/such\/hook|no such file/],
  ["a timeout of nothing", { path: "/bin/true", timeout: 0 }, /timeout/],
])("a hook with %s is refused", (_, broken, words) => {
  const { code, stderr } = playground.run({ hooks: { createRuntime: [broken] } });
  expect(code).toBe(1);
  expect(stderr).toMatch(words);
  expect(playground.leftovers()).toEqual([]);
});

it("delete leaves nothing, and the id is free again", () => {
  const id = playground.id("again");
  for (let round = 0; round < 2; round++) {
    using container = playground.start({}, { id });
    playground.must("kill", id, "KILL");
    waitUntilStopped(container);
    playground.must("delete", id);
    expect(playground.leftovers()).toEqual([]);
  }
});

it("--pid-file holds the pid of the process, whole", () => {
  const file = path.join(playground.dir, "pid");
  using container = playground.create({}, { flags: ["--pid-file", file] });
  expect(fs.readFileSync(file, "utf8")).toBe(String(container.pid));
});

it("features is JSON of the shape that features.md gives it", () => {
  const features = JSON.parse(playground.must("features"));
  expect(features).toMatchObject({
    ociVersionMin: expect.stringMatching(/^\d+\.\d+\.\d+/),
    ociVersionMax: expect.stringMatching(/^\d+\.\d+\.\d+/),
    hooks: expect.arrayContaining([...HOOKS]),
    mountOptions: expect.arrayContaining(["bind", "rbind", "ro", "rro", "nosuid", "rslave"]),
    linux: {
      namespaces: expect.arrayContaining(["cgroup", "ipc", "mount", "network", "pid", "uts"]),
      capabilities: expect.arrayContaining(["CAP_CHOWN", "CAP_BPF"]),
      cgroup: { v1: true, v2: true },
      seccomp: {
        enabled: true,
        actions: expect.arrayContaining(["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"]),
        operators: expect.arrayContaining(["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]),
        archs: expect.arrayContaining(["SCMP_ARCH_X86_64"]),
      },
    },
  });
});

it("list shows every container, with its state", () => {
  using created = playground.create();
  using running = playground.start();
  const listed = JSON.parse(playground.must("list", "--format", "json")) as { id: string; status: string }[];
  expect(listed.map(({ id, status }) => `${id} ${status}`).sort()).toEqual(
    [`${created.id} created`, `${running.id} running`].sort(),
  );
  expect(playground.must("list", "-q").trim().split("\n")).toHaveLength(2);
});
