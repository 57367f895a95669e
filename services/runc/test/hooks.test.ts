/** Hooks beside the rules of the specification: whose rights they have, and how they end. */
import { afterAll, afterEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { it, type Patch, Playground } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());
afterEach(() => expect(playground.leftovers()).toEqual([]));

const hook = (script: string, more: Patch = {}): Patch => ({
  path: "/bin/busybox",
  args: ["sh", "-c", script],
  ...more,
});

const FACTS = "id -u; sed -n 's/^\\(CapEff\\|NoNewPrivs\\|Seccomp\\):\t//p' /proc/self/status; pwd; echo $A";

it("a startContainer hook, whose program may be the image's, has the process's user, rights, filter and place, and no more", () => {
  fs.chmodSync(path.join(playground.rootfs, "tmp"), 0o1777);
  const process = {
    user: { uid: 1000, gid: 1000 },
    cwd: "/tmp",
    env: ["PATH=/bin", "A=1"],
    args: ["sh", "-c", `cat facts; echo; ${FACTS}`],
  };
  const { code, stdout, stderr } = playground.run({
    process,
    hooks: { startContainer: [hook(`{ ${FACTS}; } > facts`)] },
    linux: {
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["mknod"], action: "SCMP_ACT_ERRNO" }],
      },
    },
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const [ofHook, ofProcess] = stdout.split("\n\n");
  expect(ofHook?.trim()).toBe("1000\n0000000000000000\n1\n2\n/tmp\n1");
  expect(ofProcess?.trim()).toBe(ofHook?.trim() ?? "");
  fs.rmSync(path.join(playground.rootfs, "tmp/facts"));
});

it("a hook of any kind that can't be executed is named", () => {
  for (const name of ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"]) {
    const { code, stderr } = playground.run({ hooks: { [name]: [hook("true"), { path: "/no/such/hook" }] } });
    expect(code).toBe(1);
    expect(stderr).toContain(`error running ${name} hook #1: `);
    expect(stderr).toMatch(/: no such file or directory"?\n$/);
  }
});

it("a hook that doesn't read a long state from its stdin keeps nobody waiting", () => {
  const annotations = { long: "x".repeat(200_000) };
  for (const name of ["createRuntime", "createContainer", "startContainer"]) {
    const { code, stderr } = playground.run({ annotations, hooks: { [name]: [hook("exit 0")] } });
    expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: "" });
  }
});
