/** `process.apparmorProfile`, where the kernel has AppArmor: packages/e2e has it tested in a virtual machine. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { it, Playground, skipped } from "./playground.ts";

const hasAppArmor = fs.existsSync("/sys/kernel/security/apparmor/profiles");
if (!hasAppArmor) skipped("profiles of AppArmor: the kernel has none");
const confined = hasAppArmor ? it : test.skip;

const PROFILE = "longshore-runc-test";
const playground = new Playground();
const parser = (flag: string, text: string) =>
  Bun.spawnSync(["apparmor_parser", flag], { stdin: Buffer.from(text) });
const profile = `profile ${PROFILE} flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  signal,
  deny /tmp/forbidden* w,
}
`;

beforeAll(() => {
  if (hasAppArmor) expect(parser("-Kr", profile).exitCode).toBe(0);
});
afterAll(() => {
  playground[Symbol.dispose]();
  if (hasAppArmor) parser("-R", profile);
});

const SCRIPT = "cat /proc/self/attr/current; echo 1 >/tmp/forbidden && echo written";

for (const noNewPrivileges of [false, true]) {
  confined(
    `a process has its profile ${noNewPrivileges ? "with" : "without"} no_new_privs, execs too`,
    () => {
      using container = playground.start({ process: { noNewPrivileges, apparmorProfile: PROFILE } });
      expect(container.script(SCRIPT).stdout).toBe(`${PROFILE} (enforce)\n`);
      // Without a flag of its own, and with one.
      expect(container.script(SCRIPT, ["--apparmor", "unconfined"]).stdout).toBe("unconfined\nwritten\n");
      const { stdout, stderr } = playground.script(SCRIPT, {
        process: { noNewPrivileges, apparmorProfile: PROFILE },
      });
      expect(stdout).toBe(`${PROFILE} (enforce)\n`);
      expect(stderr).toContain("Permission denied");
    },
  );
}

confined("a profile that isn't loaded is refused, at the create and at an exec", () => {
  const { code, stderr } = playground.script(SCRIPT, { process: { apparmorProfile: "no-such-profile" } });
  expect({ code, stderr }).toMatchObject({
    code: expect.any(Number),
    stderr: expect.stringContaining(
      "unable to start container process: error during container init: unable to apply apparmor profile: apparmor failed to apply profile",
    ),
  });
  expect(code).not.toBe(0);
  using container = playground.start();
  const exec = container.script(SCRIPT, ["--apparmor", "no-such-profile"]);
  expect(exec.stdout).toBe("");
  expect(exec.code).not.toBe(0);
});

confined("an image with files in /proc doesn't take the label in the kernel's place", () => {
  const fakes = ["self", "thread-self"].map((name) =>
    path.join(playground.rootfs, "proc", name, "attr/apparmor/exec"),
  );
  for (const fake of fakes) {
    fs.mkdirSync(path.dirname(fake), { recursive: true });
    fs.writeFileSync(fake, "");
  }
  try {
    const { stdout, stderr } = playground.script("echo 1 >/tmp/forbidden && echo written", {
      process: { apparmorProfile: PROFILE },
      mounts: playground.config().mounts.filter(({ destination }) => destination !== "/proc"),
      linux: { maskedPaths: [], readonlyPaths: [] },
    });
    expect({ stdout, stderr }).toMatchObject({
      stdout: "",
      stderr: expect.stringContaining("Permission denied"),
    });
    for (const fake of fakes) expect(fs.readFileSync(fake, "utf8")).toBe("");
  } finally {
    for (const name of ["self", "thread-self"])
      fs.rmSync(path.join(playground.rootfs, "proc", name), { recursive: true });
  }
});
