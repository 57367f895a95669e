import { expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import { serveImages } from "@longshore/suite";
import { eventually, startEngine } from "@longshore/testkit";
import { anyReal, binDir, machineBusybox, ours } from "../world.ts";

setDefaultTimeout(60_000);

/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN, MKNOD, SETFCAP. */
const CAPABILITIES = "000000008820001b";

test("a pulled layer is unpacked by a process without network, host files and most rights, gone with the engine", async () => {
  await using server = await serveImages({ images: { "unpacked:1": machineBusybox() } });
  let workers: number[];
  {
    await using engine = await startEngine({ binDir, cli: anyReal ?? ours });
    const docker = engine.docker(ours);
    await docker("pull", "--quiet", `${server.host}/unpacked:1`);
    expect(await docker("run", "--rm", `${server.host}/unpacked:1`, "echo", "works")).toContain("works");
    // It stays for some seconds after the last layer.
    workers = unpackersBelow(engine.suite.paths.containerdRoot);
    expect(workers.length).toBeGreaterThan(0);
    for (const pid of workers) {
      const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
      expect(status).toMatch(new RegExp(`^CapEff:\\s*${CAPABILITIES}$`, "m"));
      expect(status).toMatch(new RegExp(`^CapBnd:\\s*${CAPABILITIES}$`, "m"));
      expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
      expect(status).toMatch(/^Seccomp:\s*2$/m);
      expect(fs.readdirSync(`/proc/${pid}/root`)).toEqual(["proc"]);
      for (const kind of ["mnt", "net", "ipc", "uts"]) {
        expect(fs.readlinkSync(`/proc/${pid}/ns/${kind}`)).not.toBe(fs.readlinkSync(`/proc/self/ns/${kind}`));
      }
      const devices = fs.readFileSync(`/proc/${pid}/net/dev`, "utf8").trim().split("\n").slice(2);
      expect(devices.map((line) => line.trim().split(":")[0])).toEqual(["lo"]);
    }
  }
  await eventually(() => !workers.some((pid) => fs.existsSync(`/proc/${pid}`)), { what: "workers gone" });
});

/** Unpacking workers whose daemon keeps its data there. */
function unpackersBelow(root: string): number[] {
  const read = (pid: number | string, name: string) => {
    try {
      return fs.readFileSync(`/proc/${pid}/${name}`, "utf8");
    } catch {
      return "";
    }
  };
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && read(name, "cmdline").includes("\0unpack-worker\0"))
    .filter((pid) => {
      const parent = /^PPid:\s*(\d+)$/m.exec(read(pid, "status"))?.[1] ?? "0";
      return read(parent, "cmdline").includes(root);
    })
    .map(Number);
}
