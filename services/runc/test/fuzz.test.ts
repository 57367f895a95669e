/** Configurations that nobody would write: never a crash or a hang, always words, nothing left behind. LONGSHORE_FUZZ_RUNS sets how many. */
import { afterAll, expect } from "bun:test";
import { EngineError } from "@longshore/errors";
import { parseSpec } from "@longshore/oci";
import fc from "fast-check";
import { CGROUP_MOUNT, it, type Patch, Playground, type Result } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());

const RUNS = Number(process.env.LONGSHORE_FUZZ_RUNS ?? 80);
/** In the short form the same each time: a test that fails by chance tells nobody what broke it. */
const SEED = process.env.LONGSHORE_FUZZ_RUNS ? {} : { seed: 20_260_923 };

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Path = (string | number)[];

/** A configuration in which nearly every field is there, so that each can be spoilt. */
function whole(id: string): Json {
  const config = playground.config({
    domainname: "example",
    annotations: { "org.example": "value" },
    process: {
      args: ["true"],
      user: { uid: 0, gid: 0, umask: 0o22, additionalGids: [1, 2] },
      consoleSize: { height: 24, width: 80 },
      oomScoreAdj: 500,
      scheduler: { policy: "SCHED_BATCH", nice: 1 },
      ioPriority: { class: "IOPRIO_CLASS_BE", priority: 4 },
      capabilities: { inheritable: ["CAP_KILL"], ambient: ["CAP_KILL"] },
    },
    hooks: {
      createRuntime: [{ path: "/bin/true", args: ["true"], env: ["A=1"], timeout: 5 }],
      poststop: [{ path: "/bin/true" }],
    },
    linux: {
      cgroupsPath: playground.groupOf(id),
      sysctl: { "net.ipv4.ip_forward": "1" },
      devices: [{ path: "/dev/extra", type: "c", major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 }],
      rootfsPropagation: "rslave",
      personality: { domain: "LINUX" },
      resources: {
        devices: [
          { allow: false, access: "rwm" },
          { allow: true, type: "c", major: 1, minor: 3, access: "rwm" },
        ],
        memory: { limit: 64 << 20, reservation: 32 << 20 },
        cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0" },
        pids: { limit: 50 },
      },
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        architectures: ["SCMP_ARCH_X86_64"],
        flags: ["SECCOMP_FILTER_FLAG_LOG"],
        syscalls: [
          {
            names: ["mkdir"],
            action: "SCMP_ACT_ERRNO",
            errnoRet: 1,
            args: [{ index: 0, value: 1, valueTwo: 2, op: "SCMP_CMP_EQ" }],
          },
        ],
      },
    },
  } satisfies Patch) as unknown as { mounts: Json[] };
  config.mounts.push(CGROUP_MOUNT as unknown as Json, {
    destination: "/extra",
    type: "tmpfs",
    source: "tmpfs",
    options: ["size=64k", "nosuid"],
  });
  return config as unknown as Json;
}

/** Every place of a document, its own top not. */
function places(value: Json, at: Path = []): Path[] {
  const here = at.length > 0 ? [at] : [];
  if (Array.isArray(value)) return [...here, ...value.flatMap((one, index) => places(one, [...at, index]))];
  if (typeof value !== "object" || value === null) return here;
  return [...here, ...Object.entries(value).flatMap(([key, one]) => places(one, [...at, key]))];
}

const valueAt = (value: Json, at: Path): Json =>
  at.reduce<Json>((from, key) => (from as Record<string | number, Json>)[key] ?? null, value);

function changed(value: Json, at: Path, to: Json | undefined): Json {
  const [key, ...rest] = at;
  if (key === undefined) return to ?? null;
  if (Array.isArray(value)) {
    if (rest.length === 0 && to === undefined) return value.filter((_, index) => index !== key);
    return value.map((one, index) => (index === key ? changed(one, rest, to) : one));
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).flatMap(([name, one]): [string, Json][] => {
    if (name !== key) return [[name, one]];
    return rest.length === 0 && to === undefined ? [] : [[name, changed(one, rest, to)]];
  });
  return Object.fromEntries(entries);
}

/** As messages name it: `process.rlimits[0].soft`. */
const named = (at: Path) =>
  at.map((key, index) => (typeof key === "number" ? `[${key}]` : `${index > 0 ? "." : ""}${key}`)).join("");

/** What must not be asked for even by chance: it would be done to the machine. */
const HARMLESS = new Set(["hooks"]);
const template = whole("fuzz");
const PLACES = places(template).filter(([top]) => !HARMLESS.has(String(top)));

const typeOf = (value: Json) => (Array.isArray(value) ? "array" : value === null ? "null" : typeof value);

/** Numbers and strings at the edges of what somebody has thought of. */
const anyNumber = fc.oneof(
  fc.constantFrom(
    0,
    -1,
    1,
    0.5,
    -0.0,
    255,
    256,
    65536,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    2 ** 63,
    2 ** 64,
  ),
  fc.constantFrom(1e308, -1e308, 5e-324, -(2 ** 63)),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
const anyString = fc.oneof(
  fc.constantFrom(
    "",
    " ",
    "/",
    "//",
    ".",
    "..",
    "../../../../etc",
    "/proc/self/exe",
    "/proc/self/fd/3",
    "-1",
    "%s%n",
  ),
  fc.constantFrom(
    "\0",
    "a\0b",
    "\n",
    "\u202e",
    "\ud800",
    "\uffff",
    "😀".repeat(50),
    "constructor",
    "__proto__",
  ),
  fc.constantFrom("x".repeat(5000), "/x".repeat(3000), "x".repeat(200_000)),
  fc.string({ unit: "binary", maxLength: 30 }),
);
const anyJson: fc.Arbitrary<Json> = fc.oneof(
  { weight: 3, arbitrary: anyNumber },
  { weight: 4, arbitrary: anyString },
  fc.boolean(),
  fc.constantFrom<Json>(null, [], {}, [[]], [null], { "": null }, [[[[[[[[]]]]]]]]),
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>,
);

type Change = { at: Path; to: Json | undefined };
const anyChange: fc.Arbitrary<Change> = fc
  .tuple(fc.constantFrom(...PLACES), fc.oneof({ weight: 6, arbitrary: anyJson }, fc.constant(undefined)))
  .map(([at, to]) => ({ at, to }));

/** Put back what keeps the experiment away from the rest of the machine. */
function harmless(config: Json, id: string): Json {
  const linux = valueAt(config, ["linux"]);
  const group = typeOf(linux) === "object" ? valueAt(linux, ["cgroupsPath"]) : null;
  // A path stays what it is, below a parent of ours; `..` is tried by the tests of cgroups.
  if (typeof group === "string" && group !== playground.groupOf(id) && !group.includes("\0")) {
    const below = group.replaceAll(/[/.]/g, "_").slice(0, 200);
    return changed(config, ["linux", "cgroupsPath"], `${playground.groupOf(id)}${below}`);
  }
  return config;
}

/** What may come of a configuration, whatever is in it. */
function expectSane({ code, stdout, stderr }: Result, what: string): void {
  const text = `${what}\n${stdout}${stderr}`;
  // Not killed, not hanging, not an exit code of the JavaScript engine.
  expect([0, 1, 126, 127, 137, 255], text).toContain(code);
  expect(text).not.toMatch(
    /\n {4}at |(Type|Range|Reference|Syntax)Error|is not (a function|iterable)|undefined|\[object /,
  );
  if (code === 1) expect(stderr, what).toMatch(/level=error msg=".{8,}/);
}

const describeChange = ({ at, to }: Change) =>
  `${named(at)} = ${to === undefined ? "(left out)" : JSON.stringify(to).slice(0, 200)}`;

it("a value of another type is refused by the name of its field, at every place", () => {
  const others: Record<string, Json> = {
    number: 7,
    string: "text",
    boolean: true,
    array: ["x"],
    object: { x: 1 },
  };
  let refused = 0;
  for (const at of places(template)) {
    const type = typeOf(valueAt(template, at));
    for (const [other, value] of Object.entries(others)) {
      if (other === type) continue;
      const text = JSON.stringify(changed(template, at, value));
      try {
        parseSpec(text);
      } catch (error) {
        expect(error).toBeInstanceOf(EngineError);
        // The field itself, or the one that it is a member of by a name of the user's choice.
        const name = named(at);
        const { message } = error as EngineError;
        const owner = named(at.slice(0, -1));
        expect(
          message.includes(name) || (owner !== "" && message.includes(owner)),
          `${name}: ${message}`,
        ).toBe(true);
        refused++;
        continue;
      }
      throw new Error(`${named(at)} may be ${JSON.stringify(value)}`);
    }
  }
  expect(refused).toBeGreaterThan(400);
});

it("parseSpec() takes a document or throws an EngineError with words, whatever it is given", () => {
  fc.assert(
    fc.property(fc.array(anyChange, { minLength: 1, maxLength: 4 }), (changes) => {
      const config = changes.reduce((value, { at, to }) => changed(value, at, to), template);
      try {
        parseSpec(JSON.stringify(config));
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        if (error.message.length < 8) throw new Error(`no words: ${error.message}`);
      }
    }),
    { numRuns: 3000, ...SEED },
  );
});

it("parseSpec() says of any text that it is not JSON, or is taken or refused by name", () => {
  const json = JSON.stringify(template);
  const spoilt = fc
    .tuple(fc.nat(json.length), fc.string({ maxLength: 5 }), fc.nat(30))
    .map(([at, text, cut]) => json.slice(0, at) + text + json.slice(at + cut));
  fc.assert(
    fc.property(fc.oneof(spoilt, fc.string(), fc.json()), (text) => {
      try {
        parseSpec(text);
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
      }
    }),
    { numRuns: 2000, ...SEED },
  );
});

it(
  "run: no crash, no hang, words for every refusal, and nothing left",
  () => {
    let ran = 0;
    fc.assert(
      fc.property(fc.array(anyChange, { minLength: 1, maxLength: 3 }), (changes) => {
        const id = playground.id("fuzz");
        const start = changed(template, ["linux", "cgroupsPath"], playground.groupOf(id));
        const config = harmless(
          changes.reduce((value, { at, to }) => changed(value, at, to), start),
          id,
        );
        playground.write(config);
        const result = playground.command(["run", "--bundle", playground.bundle, id], { timeoutMs: 15_000 });
        expectSane(result, changes.map(describeChange).join("; "));
        expect(playground.leftovers(), changes.map(describeChange).join("; ")).toEqual([]);
        ran++;
      }),
      { numRuns: RUNS, endOnFailure: true, ...SEED },
    );
    expect(ran).toBe(RUNS);
  },
  RUNS * 1000,
);

it("run: documents that are no documents, and huge ones", () => {
  const json = JSON.stringify(template);
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  for (const text of [
    "",
    " ",
    "null",
    "[]",
    "42",
    '"text"',
    "{",
    "{}",
    json.slice(0, -1),
    `${json}${json}`,
    `\ufeff${json}`,
    deep,
    `{"process":${deep}}`,
    json.replace('"ociVersion"', '"ociVersion":"1","ociVersion"'),
    `{"__proto__":{"process":1},${json.slice(1)}`,
    json.replace("{", `{"x":"${"y".repeat(3_000_000)}",`),
    json.replace('"options":[', `"options":[${'"nosuid",'.repeat(20_000)}`),
  ]) {
    const id = playground.id("text");
    playground.write(text);
    const result = playground.command(["run", "--bundle", playground.bundle, id], { timeoutMs: 15_000 });
    expectSane(result, text.slice(0, 100));
    playground.command(["delete", "--force", id]);
  }
});

it("arguments of the command line: no crash, words, no hang", () => {
  const words = fc.constantFrom(
    ..."create start run exec state kill delete list ps pause resume update events spec features checkpoint restore".split(
      " ",
    ),
  );
  const argument = fc.oneof(
    fc.constantFrom(
      "--bundle",
      "--force",
      "-f",
      "--all",
      "--",
      "-",
      "",
      "--no-such-flag",
      "-x",
      "--format",
      "json",
    ),
    fc.constantFrom(
      "nobody",
      "../x",
      "--pids-limit",
      "-1",
      "--root",
      "--tty",
      "--process",
      "/dev/null",
      "--cwd",
    ),
    fc.string({ maxLength: 10 }).filter((text) => !text.includes("\0")),
  );
  fc.assert(
    fc.property(words, fc.array(argument, { maxLength: 4 }), (command, args) => {
      const cwd = playground.dir;
      const result = playground.command([command, ...args], { timeoutMs: 10_000, cwd });
      const text = `${command} ${JSON.stringify(args)}: ${result.code} ${result.stdout}${result.stderr}`;
      expect(result.code, text).not.toBe(-1);
      expect(result.code, text).not.toBe(128);
      expect(result.stderr, text).not.toMatch(
        /\n {4}at |(Type|Range|Reference)Error|is not a function|\[object /,
      );
      if (result.code !== 0) expect(result.stderr.length, text).toBeGreaterThan(5);
    }),
    { numRuns: RUNS, endOnFailure: true, ...SEED },
  );
  expect(playground.leftovers()).toEqual([]);
}, 60_000);
