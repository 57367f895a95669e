import { expect, test } from "bun:test";
import fs from "node:fs";
import { skipped, useWorld } from "./world.ts";

// other-kernel.test.ts runs it in a virtual machine.
const hasAppArmor = fs.existsSync("/sys/kernel/security/apparmor/profiles");

if (!hasAppArmor) skipped("profiles of AppArmor: the kernel has none");
else {
  const world = useWorld({ startTimeoutMs: 90_000 });
  const CURRENT = "/proc/self/attr/current";
  const run = (...args: string[]) => world().docker()("run", "--rm", "--network=none", ...args);
  const shown = (name: string) => world().docker()("inspect", "-f", "{{.AppArmorProfile}}", name);
  const parser = (flag: string, text: string) =>
    Bun.spawnSync(["apparmor_parser", flag], { stdin: Buffer.from(text) }).exitCode;

  test("containers have docker-default, which denies mounts and writes to the kernel's files", async () => {
    const info = await world().docker()("info", "-f", "{{json .SecurityOptions}}");
    expect(info).toContain('"name=apparmor"');
    const script = `cat ${CURRENT}
      mount -t tmpfs none /mnt && echo mounted
      echo x >/proc/sys/kernel/hostname && echo written
      head -c 1 /proc/kcore >/dev/null && echo read
      kill -0 1 && echo signalled
      true`;
    // All that else would deny it is taken away.
    const open = [
      "--cap-add=ALL",
      "--security-opt=seccomp=unconfined",
      "--security-opt=systempaths=unconfined",
    ];
    const confined = await run(...open, world().busybox, "sh", "-c", `mkdir -p /mnt; ${script}`);
    expect(confined).toBe("docker-default (enforce)\nsignalled");
    const options = [...open, "--security-opt=apparmor=unconfined"];
    const unconfined = await run(...options, world().busybox, "sh", "-c", `mkdir -p /mnt; ${script}`);
    expect(unconfined).toStartWith("unconfined\nmounted\n");
    const privileged = await run("--privileged", world().busybox, "cat", CURRENT);
    expect(privileged).toBe("unconfined");
  });

  test("a container and its execs have the profile that was asked for, and one that isn't loaded is an error", async () => {
    const profile =
      "profile longshore-e2e flags=(attach_disconnected,mediate_deleted) { file, signal, capability, deny /tmp/x w, }\n";
    expect(parser("-Kr", profile)).toBe(0);
    try {
      const options = ["--security-opt=apparmor=longshore-e2e", "--name=own", world().busybox];
      const docker = world().docker();
      await docker("create", "--network=none", ...options, "sleep", "1000");
      expect(await shown("own")).toBe("longshore-e2e");
      await docker("start", "own");
      expect(await shown("own")).toBe("longshore-e2e");
      for (const flags of [[], ["--privileged"]]) {
        const stdout = await docker("exec", ...flags, "own", "cat", CURRENT);
        expect(stdout).toBe("longshore-e2e (enforce)");
      }
      await docker("rm", "-f", "own");
    } finally {
      parser("-R", profile);
    }
    const missing = run("--security-opt=apparmor=no-such-profile", world().busybox, "true");
    await expect(missing).rejects.toThrow(/OCI runtime create failed.*apparmor/);
  });

  test("the default profile is loaded again when somebody has removed it", async () => {
    fs.writeFileSync("/sys/kernel/security/apparmor/.remove", "docker-default");
    const stdout = await run(world().busybox, "cat", CURRENT);
    expect(stdout).toBe("docker-default (enforce)");
  });
}
